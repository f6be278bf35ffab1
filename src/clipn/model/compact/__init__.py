"""The compact model, a small real CLIP with its "no"; README.md here is its card."""
