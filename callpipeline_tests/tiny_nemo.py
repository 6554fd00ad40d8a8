"""NeMo models of a few hundred kilobytes, made from random numbers, whose answers are known beforehand.

The whole real path runs on them (a .nemo file on disk, ``restore_from``, mel spectrum, encoder, the model's own
``diarize``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

MELS: dict[str, Any] = {
    "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
    "normalize": "per_feature",
    "window_size": 0.025,
    "sample_rate": 16000,
    "window_stride": 0.01,
    "window": "hann",
    "features": 80,
    "n_fft": 512,
    "frame_splicing": 1,
    "dither": 0.0,
}


@dataclass(frozen=True)
class Size:
    """How large a Sortformer is: its encoder, and the transformer behind it with inner layers of four times its width."""

    width: int
    heads: int
    layers: int
    channels: int
    expansion: int
    behind_width: int
    behind_heads: int
    behind_layers: int


TINY = Size(32, 2, 1, 16, 2, 16, 2, 1)


def tiny_sortformer(file: Path, *, speaking: int = 0, size: Size = TINY) -> Path:
    """Write a streaming Sortformer that hears one voice all the time, in the row ``speaking`` of its four.

    With the ``size`` of the published model it costs what that one would, and is no longer tiny.
    """
    import torch
    from nemo.collections.asr.models import SortformerEncLabelModel
    from omegaconf import OmegaConf

    torch.manual_seed(0)
    model = SortformerEncLabelModel(cfg=OmegaConf.create(_sortformer(size)))
    bias = [-3.0] * 4
    bias[speaking] = 3.0
    with torch.no_grad():
        model.sortformer_modules.single_hidden_to_spks.bias.copy_(torch.tensor(bias))
    model.save_to(str(file))
    return file


def tiny_titanet(file: Path) -> Path:
    """Write a model of voices whose vectors tell sounds apart by their mean spectrum, untrained as it is."""
    import torch
    from nemo.collections.asr.models import EncDecSpeakerLabelModel
    from omegaconf import OmegaConf

    torch.manual_seed(0)
    EncDecSpeakerLabelModel(cfg=OmegaConf.create(_titanet())).save_to(str(file))
    return file


def _sortformer(size: Size) -> dict[str, Any]:
    asr = "nemo.collections.asr"
    return {
        "sample_rate": 16000,
        "max_num_of_spks": 4,
        "streaming_mode": True,
        "pil_weight": 0.5,
        "ats_weight": 0.5,
        "session_len_sec": 90,
        "soft_label_thres": 0.5,
        "model_defaults": {"fc_d_model": size.width, "tf_d_model": size.behind_width},
        "preprocessor": {**MELS, "pad_to": 16},
        "sortformer_modules": {
            "_target_": f"{asr}.modules.sortformer_modules.SortformerModules",
            "num_spks": 4,
            "dropout_rate": 0.0,
            "fc_d_model": size.width,
            "tf_d_model": size.behind_width,
            "subsampling_factor": 8,
            "chunk_len": 188,
            "chunk_left_context": 1,
            "chunk_right_context": 1,
            "fifo_len": 0,
            "spkcache_len": 188,
            "spkcache_update_period": 188,
        },
        "encoder": {
            "_target_": f"{asr}.modules.ConformerEncoder",
            "feat_in": 80,
            "feat_out": -1,
            "n_layers": size.layers,
            "d_model": size.width,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": size.channels,
            "causal_downsampling": False,
            "ff_expansion_factor": size.expansion,
            "self_attention_model": "rel_pos",
            "n_heads": size.heads,
            "att_context_size": [-1, -1],
            "xscaling": True,
            "untie_biases": True,
            "pos_emb_max_len": 5000,
            "conv_kernel_size": 9,
            "conv_norm_type": "batch_norm",
            "dropout": 0.0,
            "dropout_emb": 0.0,
            "dropout_pre_encoder": 0.0,
            "dropout_att": 0.0,
        },
        "transformer_encoder": {
            "_target_": f"{asr}.modules.transformer.transformer_encoders.TransformerEncoder",
            "num_layers": size.behind_layers,
            "hidden_size": size.behind_width,
            "inner_size": 4 * size.behind_width,
            "num_attention_heads": size.behind_heads,
            "attn_score_dropout": 0.0,
            "attn_layer_dropout": 0.0,
            "ffn_dropout": 0.0,
            "hidden_act": "relu",
            "pre_ln": False,
            "pre_ln_final_layer_norm": True,
        },
        "loss": {"_target_": f"{asr}.losses.bce_loss.BCELoss", "weight": None, "reduction": "mean"},
    }


def _titanet() -> dict[str, Any]:
    asr = "nemo.collections.asr"
    data = {
        "manifest_filepath": None,
        "sample_rate": 16000,
        "labels": None,
        "batch_size": 1,
        "shuffle": False,
    }
    return {
        "sample_rate": 16000,
        "train_ds": data,
        "validation_ds": data,
        "preprocessor": MELS,
        "encoder": {
            "_target_": f"{asr}.modules.ConvASREncoder",
            "feat_in": 80,
            "activation": "relu",
            "conv_mask": True,
            "jasper": [_block(3), _block(7), _block(1)],
        },
        "decoder": {
            "_target_": f"{asr}.modules.SpeakerDecoder",
            "feat_in": 64,
            "num_classes": 4,
            "pool_mode": "attention",
            "emb_sizes": 32,
            "angular": True,
        },
        "loss": {"_target_": f"{asr}.losses.angularloss.AngularSoftmaxLoss", "scale": 30, "margin": 0.2},
    }


def _block(kernel: int) -> dict[str, Any]:
    return {
        "filters": 64,
        "repeat": 1,
        "kernel": [kernel],
        "stride": [1],
        "dilation": [1],
        "dropout": 0.0,
        "residual": False,
        "separable": True,
        "se": True,
        "se_context_size": -1,
    }
