"""Number formats that a device computes fast."""

import torch


def fastest(accelerator: str) -> str:
    """bf16-mixed where the device of an ``accelerator`` multiplies bfloat16, else 32-true.

    GPUs since Ampere do, and processors with AVX512-BF16 or AMX; emulated, it would be slower.
    """
    if accelerator != "cpu" and torch.cuda.is_available():
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # torch has no public name for these before 2.11.
        has_it = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if has_it else "32-true"
