"""``python -m callpipeline``: the same as the ``callpipeline`` command."""

from callpipeline.cli import main

main()
