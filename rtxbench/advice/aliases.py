"""The names people type for precisions, methods and optimizers, beside the ones used here."""

from collections.abc import Mapping

__all__ = ["METHOD_ALIASES", "OPTIMIZER_ALIASES", "PRECISION_ALIASES", "canonical"]

PRECISION_ALIASES: Mapping[str, str] = {
    "fp16": "mixed_float16",
    "float16": "mixed_float16",
    "half": "mixed_float16",
    "amp": "mixed_float16",
    "bf16": "mixed_bfloat16",
    "bfloat16": "mixed_bfloat16",
    "fp32": "float32",
    "full": "float32",
}
METHOD_ALIASES: Mapping[str, str] = {
    "fft": "full",
    "full-finetune": "full",
    "bf16": "full-bf16",
    "pure-bf16": "full-bf16",
    "q-lora": "qlora",
    "4bit": "qlora",
    "8bit": "int8-lora",
}
OPTIMIZER_ALIASES: Mapping[str, str] = {
    "adamw": "adam",
    "adamw-torch": "adam",
    "adamw8bit": "adam-8bit",
    "adamw-8bit": "adam-8bit",
    "adamw-bnb-8bit": "adam-8bit",
    "paged-adamw": "adam-paged",
    "paged-adamw-8bit": "adam-8bit-paged",
    "paged-adamw-32bit": "adam-paged",
}


def canonical(name: str, aliases: Mapping[str, str]) -> str:
    """Return the name used here for what a person typed; case, - and _ do not matter in an alias."""
    typed = name.strip().lower()
    return aliases.get(typed, aliases.get(typed.replace("_", "-"), typed))
