"""The model card: what a model was made from, how well it does, what it must not be taken for."""

from typing import Any

from latentcli.config import ModelConfig


def model_card(name: str, config: ModelConfig, training: dict[str, Any]) -> str:
    """Markdown, from the config and the training summary that the model file keeps."""
    colour = "colour" if config.channels == 3 else "gray"
    rows = {
        "network": f"`{config.preset}`, {config.width}x{config.height} {colour}, latent dimension {config.latent_dim}",
        "likelihood": config.likelihood,
        "images": f"{training['images']} from `{training['data']}`, {training['held_out_images']} held out",
        "training": (
            f"{training['steps']} steps of {training['batch_size']} images ({training['epochs']:g} epochs) "
            f"in {training['seconds'] / 60:.1f} minutes, {training['precision']}, "
            f"beta {training['beta']:g}, seed {training['seed']}"
        ),
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"""# {name}

A variational autoencoder made with latentcli.

| | |
|---|---|
{table}

## On held-out images

{_figures(training["held_out"])}

Figures are as latentcli defines them: nats per image with one posterior draw and the stored sigma; PSNR of the 8-bit
reconstruction from the posterior mean against the image resized with Lanczos.

## Use

```
latentcli sample --model {name} --n 64
latentcli encode photo.png --model {name}
```

What it draws is synthetic: say so where you show it. It knows what its training images show and nothing else; edits
of people reproduce whatever bias those images and their labels have. Name the images' licence before you pass the
model on.
"""


def _figures(held_out: dict[str, Any] | None) -> str:
    if not held_out:
        return "No images were held out, so nothing was measured."
    rows = [
        ("-ELBO", "negative_elbo", "{:.2f} nats"),
        ("reconstruction", "reconstruction", "{:.2f} nats"),
        ("KL", "kl", "{:.2f} nats"),
        ("PSNR", "psnr", "{:.2f} dB"),
        ("active dimensions", "active_dimensions", "{}"),
        ("bits per dimension", "bits_per_dimension", "{:.3f}"),
    ]
    known = [(name, text.format(held_out[key])) for name, key, text in rows if held_out[key] is not None]
    lines = "\n".join(f"| {name} | {value} |" for name, value in known)
    return f"| figure ({held_out['images']} images) | value |\n|---|---|\n{lines}"
