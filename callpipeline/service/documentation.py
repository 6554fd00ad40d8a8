"""``/docs``: the documentation of the API as a page that works without a network.

The page is Swagger UI, which comes with the package (``static/``), and what it shows is made from the code.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

STATIC = Path(__file__).parent / "static"
KEPT = {"Cache-Control": "public, max-age=86400"}
_NO_ICON = "data:,"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def page(request: Request) -> HTMLResponse:
    """Show the API and let it be tried out. Everything is asked of this service, nothing of another."""
    root = request.scope.get("root_path", "").rstrip("/")
    return get_swagger_ui_html(
        openapi_url=f"{root}{request.app.openapi_url}",
        title=f"{request.app.title}: the API",
        swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/swagger-ui.css",
        swagger_favicon_url=_NO_ICON,
        swagger_ui_parameters={"validatorUrl": None},
    )


@router.get("/docs/swagger-ui-bundle.js")
async def script() -> FileResponse:
    """Return the page's script."""
    return FileResponse(STATIC / "swagger-ui-bundle.js", media_type="text/javascript", headers=KEPT)


@router.get("/docs/swagger-ui.css")
async def style() -> FileResponse:
    """Return the page's style."""
    return FileResponse(STATIC / "swagger-ui.css", media_type="text/css", headers=KEPT)
