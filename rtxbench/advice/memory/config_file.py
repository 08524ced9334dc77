"""A model nobody listed, from its ``config.json`` as Hugging Face writes it.

Only dimensions are read; nothing of the file is executed or fetched. Every field has a bound, so that a hostile or
broken file ends in an error that names the field.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtxbench.advice.memory.models import Model
from rtxbench.errors import UsageError

__all__ = ["model_of_config"]

_LARGEST_FILE_BYTES = 1 << 20
_FIELDS: Mapping[str, tuple[tuple[str, ...], int]] = {
    # our name: (names in config files, largest value that any model has)
    "layers": (("num_hidden_layers", "n_layer", "num_layers", "n_layers"), 1000),
    "hidden": (("hidden_size", "n_embd", "d_model", "dim"), 1 << 17),
    "heads": (("num_attention_heads", "n_head", "num_heads", "n_heads"), 4096),
    "intermediate": (("moe_intermediate_size", "intermediate_size", "n_inner", "d_ff", "ffn_dim"), 1 << 20),
    "vocabulary": (("vocab_size",), 1 << 24),
    "key_value_heads": (("num_key_value_heads",), 4096),
    "head_width": (("head_dim", "d_kv"), 4096),
    "experts": (("num_local_experts", "num_experts", "n_routed_experts"), 4096),
    "active_experts": (("num_experts_per_tok", "experts_per_token"), 4096),
    "positions": (("n_positions",), 1 << 24),
}
_REQUIRED = ("layers", "hidden", "heads", "vocabulary")
_PLAIN = ("gpt2", "gpt_neo", "gpt_neox", "opt", "bloom", "phi", "falcon", "mpt")
_BERT = ("bert", "roberta", "electra", "distilbert", "deberta", "deberta-v2", "albert")


def model_of_config(path: Path) -> Model:
    """Return the model a config file describes.

    Raises:
        UsageError: it cannot be read, is no JSON object, lacks a dimension, or holds an impossible one.
    """
    config = _read(path)
    if isinstance(config.get("text_config"), dict):  # vision-language models keep the language model's part here
        config = {**config, **config["text_config"]}
    values = {name: _dimension(config, name, path) for name in _FIELDS}
    absent = [_FIELDS[name][0][0] for name in _REQUIRED if values[name] is None]
    if absent:
        raise UsageError(
            f"{path} has no {', '.join(absent)}.",
            next_step="Pass the config.json of a transformer, or choose a model by name.",
        )
    kind = str(config.get("model_type", "")).lower()
    form = "bert" if kind in _BERT else "gpt2" if kind in _PLAIN else "llama"
    hidden, heads = values["hidden"] or 0, values["heads"] or 1
    if hidden % heads and not values["head_width"]:
        raise UsageError(f"{path}: {heads} heads do not divide a width of {hidden}.", next_step="Correct the file.")
    model = Model(
        name=path.parent.name or path.stem,
        form=form,
        layers=values["layers"] or 0,
        hidden=hidden,
        heads=heads,
        key_value_heads=values["key_value_heads"] or heads,
        intermediate=values["intermediate"] or 4 * hidden,
        vocabulary=values["vocabulary"] or 0,
        tied_embeddings=_is_tied(config, form),
        positions=values["positions"] or 0,
        stated_parameters=0.0,
        tokens=1024 if form != "bert" else 128,
        source=str(path),
        head_width=values["head_width"] or 0,
        experts=values["experts"] or 1,
        active_experts=values["active_experts"] or 1,
    )
    return model._replace(stated_parameters=float(model.parameters))


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise UsageError(f"{path} is larger than any config.json.", next_step="Pass the model's config.json.")
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}.", next_step="Check the path.") from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UsageError(f"{path} is no JSON: {error}.", next_step="Pass the model's config.json.") from error
    if not isinstance(config, dict):
        raise UsageError(f"{path} holds no object of settings.", next_step="Pass the model's config.json.")
    return config


def _dimension(config: Mapping[str, Any], name: str, path: Path) -> int | None:
    keys, largest = _FIELDS[name]
    key = next((key for key in keys if config.get(key) is not None), None)
    if key is None:
        return None
    value = config[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= largest:
        raise UsageError(
            f"{path}: {key} is {str(value)[:40]!r}.", next_step=f"A whole number from 1 to {largest} is expected."
        )
    return value


def _is_tied(config: Mapping[str, Any], form: str) -> bool:
    stated = config.get("tie_word_embeddings")
    # Transformers ties where the file says nothing; Llama and its kin always say so.
    return bool(stated) if isinstance(stated, bool) else form != "llama"
