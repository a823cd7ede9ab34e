"""Rule-based diagnosis of a training: what went well, what did not, and what to do about it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from latentcli.config import ModelConfig
from latentcli.data.sources import HELD_OUT_NEEDS
from latentcli.evaluation.result import MIN_COMPARED, Evaluation, SampleMetrics
from latentcli.presets import FEW_IMAGES, default_epochs, images_seen
from latentcli.storage.history import ACTIVE_KL, EpochReport, Metrics, TrainingSummary

# Thresholds. benchmarks/spoiled.py checks them on seven trainings that are spoiled on purpose.
_WON = 0.5  # dB over a baseline: a clear win
_EXACT = 45.0  # dB: a gray level and a half
_ALIKE = 0.02  # standard deviation around the mean image below which there is nothing to learn
_BY_HEART = 200  # a network can learn so many by heart
_OVERFITTED = 1.5  # dB between training and held-out images
_TURNED, _TURNED_FAR = 0.02, 0.1  # rise of the held-out -ELBO from its best, as a share of its whole range
_ROSE = 0.02  # of the first loss: a run that starts from PCA may end a little above it when it is short
_SURE = 50  # held-out images: fewer are too few to be sure, and for a Fréchet distance
_FEW_EPOCHS = 5  # passes over the images within which no curve has settled, unless there are very many images
_BRIEF = 0.2  # of the preset's own length: the cosine ends any run with a curve that looks settled
_ALMOST_NOTHING = 3.0  # nats of KL in all: log(20), enough to distinguish twenty images
_STILL_FALLING = 0.1  # share of all that was gained which the last third of a run still gained
_CROWDED = 3.0  # nats per latent dimension: each is full
_SMALL_LATENT = 8  # dimensions
_MISFIT = 3.0  # times: the standard prior's Fréchet distance over the fitted one's
_NEAR_COPIES = 0.1  # share of the samples; of held-out images 0.05 count as such
_MONOTONOUS = 0.5  # of the held-out images' diversity
_SIMILAR = "else start from a model of similar pictures with `start_from` MODEL"
_FOLLOWS_COLLAPSE = ("baseline", "monotonous samples")  # the same cause, so one piece of advice


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about a model."""

    grade: Literal["good", "note", "problem"]
    about: str  # in a word or two, for programs
    text: str
    advice: str = ""

    def describe(self) -> str:
        """The finding in one line."""
        return f"{self.grade}: {self.text}{f' -> {self.advice}' if self.advice else ''}"

    def to_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a diagnosis is made from."""

    config: ModelConfig
    evaluation: Evaluation
    training: TrainingSummary
    history: Sequence[EpochReport]
    foreign: bool = False  # the images come from elsewhere, so they say nothing about the training


def diagnose(evidence: Evidence) -> list[Finding]:
    """Problems first, each with one piece of advice; then what is worth knowing, then what went well."""
    rules = _RULES_FOR_OTHER_IMAGES if evidence.foreign else _RULES
    findings = [finding for rule in rules for finding in rule(evidence)]
    if any(finding.about == "alike" for finding in findings):  # nothing else means anything then
        findings = [finding for finding in findings if finding.about == "alike"]
    if any(finding.about == "collapse" for finding in findings):
        findings = [finding for finding in findings if finding.about not in _FOLLOWS_COLLAPSE]
    order = ("problem", "note", "good")
    return sorted(findings, key=lambda finding: order.index(finding.grade))


def _alike(evidence: Evidence) -> Iterator[Finding]:
    pixels = evidence.evaluation.pixels
    if pixels.images > 1 and pixels.deviation < _ALIKE:
        yield Finding(
            "problem",
            "alike",
            f"the images are nearly identical ({255 * pixels.deviation:.1f} gray levels from their mean), so there is "
            "nothing to learn from them",
            "train on a folder of different pictures; latentcli check shows what is in one",
        )


def _elsewhere(evidence: Evidence) -> Iterator[Finding]:
    yield Finding(
        "note",
        "other images",
        f"the model was trained on other images, those of {evidence.training.data}: these metrics describe it on new "
        "data and say nothing about the training",
    )


def _baselines(evidence: Evidence) -> Iterator[Finding]:
    found = evidence.evaluation
    for baseline in found.baselines:
        gain = found.held_out.psnr - baseline.psnr
        numbers = f"{found.held_out.psnr:.1f} dB against {baseline.psnr:.1f} dB"
        if gain > _WON:
            yield Finding("good", "baseline", f"reconstructions beat the {baseline.name} by {gain:.1f} dB ({numbers})")
        elif baseline.name == "mean image":
            text = f"reconstructions are no better than the mean image ({numbers})"
            yield Finding("problem", "baseline", text, _longer(evidence))
        elif min(found.held_out.psnr, baseline.psnr) > _EXACT:
            text = f"{baseline.name} reconstructs these images almost exactly, and so does this model ({numbers})"
            yield Finding("good", "baseline", text)
        elif sharp := evidence.training.sharpening:
            text = (
                f"sharpening gave up {sharp.before.psnr - sharp.after.psnr:.1f} dB for detail: reconstructions are no "
                f"nearer to the images than those of {baseline.name} ({numbers})"
            )
            yield Finding("note", "baseline", text)
        elif _has_settled(evidence):
            text = f"the curve has settled, and reconstructions are no better than those of {baseline.name} ({numbers})"
            advice = "a longer run will not help; a larger `latent_dim` keeps more"
            yield Finding("note", "baseline", text, advice)
        else:
            text = f"reconstructions are not yet better than those of {baseline.name} ({numbers})"
            yield Finding("note", "baseline", text, _longer(evidence))


def _has_settled(evidence: Evidence) -> bool:
    """Whether the network can do no more, rather than having been trained too little."""
    if evidence.foreign or evidence.training.epochs < _FEW_EPOCHS or _is_brief(evidence):
        return False
    late = late_gain(evidence.history)
    return late is not None and late <= _STILL_FALLING


def _is_brief(evidence: Evidence) -> bool:
    return evidence.training.epochs < _BRIEF * default_epochs(evidence.config, evidence.training.images)


def _diverged(evidence: Evidence) -> Iterator[Finding]:
    skipped = max((line.skipped_steps for line in evidence.history), default=0)
    steps = evidence.training.steps
    if skipped > 0.01 * steps or rose(evidence.history):
        lost = f"{skipped} of {steps} steps had no finite gradient"
        how = lost if skipped > 0.01 * steps else "the loss ended higher than it began, on training images too"
        advice = f"`learning_rate` {evidence.training.learning_rate / 4:g}"
        yield Finding("problem", "diverged", f"training diverged: {how}", advice)


def _collapse(evidence: Evidence) -> Iterator[Finding]:
    kl = evidence.evaluation.kl_per_dimension
    if not kl:
        return
    active = sum(nats > ACTIVE_KL for nats in kl)
    dead = len(kl) - active
    beta = evidence.training.beta
    why = f"beta {beta:g} penalises it too heavily" if beta > 1 else "the decoder ignores it"
    advice = "`beta` 1" if beta > 1 else "`beta` 0.5, or a longer run"
    if active == 0:
        yield Finding("problem", "collapse", f"the latent is not used at all: {why}", advice)
    elif sum(kl) < min(_ALMOST_NOTHING, len(kl)):
        text = f"the latent carries almost nothing: {active} of {len(kl)} dimensions, {sum(kl):.1f} nats; {why}"
        yield Finding("problem", "collapse", text, advice)
    elif dead > len(kl) / 2 and evidence.training.images > len(kl):
        advice = f"that costs little; `latent_dim` {max(2, 2 * active)} would do"
        yield Finding("note", "dead dimensions", f"{dead} of {len(kl)} latent dimensions carry nothing", advice)


def _likelihood(evidence: Evidence) -> Iterator[Finding]:
    from latentcli.model.likelihood import likelihood_of

    config = evidence.config
    if misfit := likelihood_of(config).misfit(evidence.evaluation.pixels.near_ends, config):
        reason, better = misfit
        yield Finding("problem", "likelihood", reason, f"`likelihood` {better}")


def _overfitting(evidence: Evidence) -> Iterator[Finding]:
    found, images = evidence.evaluation, evidence.training.images
    held_out = 0 if found.on_training else found.held_out.images
    gap = _gap(evidence)
    turned = 0.0 if evidence.training.kept_epoch else turned_from_best(evidence.history)
    if found.on_training:
        yield _nothing_held_out(images)
    if found.on_training and images < HELD_OUT_NEEDS:
        return  # that says it all
    if gap > _OVERFITTED or turned > _TURNED or images < _BY_HEART:
        parts = [
            f"{images} images are few enough to learn by heart" if images < _BY_HEART else "",
            f"reconstructions of training images are {gap:.1f} dB better than those of held-out ones"
            if gap > _OVERFITTED
            else "",
            "held-out metrics were better earlier in the run" if turned > _TURNED else "",
            f"{found.held_out.images} held-out images are too few to be sure" if 0 < held_out < _SURE else "",
        ]
        surely = gap > _OVERFITTED or turned > _TURNED_FAR
        yield Finding(
            "problem" if surely else "note",
            "overfitting",
            ", ".join(filter(None, parts)),
            "more images help most; " + _SIMILAR if images < FEW_IMAGES else "more images help most; else `beta` 2",
        )


def _nothing_held_out(images: int) -> Finding:
    if images >= HELD_OUT_NEEDS:
        text = "no images were held out, so performance on new images is unknown"
        return Finding("note", "nothing held out", text, "`held_out` 0.2, or `held_out` DIR")
    return Finding(
        "note",
        "nothing held out",
        f"{images} images are too few to hold some out: the model knows these by heart, and others hardly at all",
        f"add images: from {HELD_OUT_NEEDS} on some are held out, a few hundred are a start; {_SIMILAR}",
    )


def _gap(evidence: Evidence) -> float:
    """PSNR of training images over that of held-out ones, in dB."""
    found = evidence.evaluation
    return found.training.psnr - found.held_out.psnr if found.training else 0.0


def _length(evidence: Evidence) -> Iterator[Finding]:
    epochs, minutes = evidence.training.epochs, evidence.training.seconds / 60
    late = late_gain(evidence.history)
    if evidence.training.planned_epochs or (evidence.training.kept_epoch or epochs) < (1 - _TURNED) * epochs:
        yield Finding("note", "length", _kept(evidence.training))
        return
    seen, usual = epochs * evidence.training.images, images_seen(evidence.config)
    if epochs < _FEW_EPOCHS and seen < usual:
        yield Finding(
            "problem",
            "too little training",
            f"each image was seen {epochs:.1f} times in {minutes:.1f} minutes: too little training",
            _longer(evidence),
        )
    elif late is not None and late > _STILL_FALLING:
        yield Finding(
            "note",
            "too little training",
            f"the last third of the run brought {late:.0%} of the whole gain: too little training",
            _longer(evidence),
        )
    elif late is not None and turned_from_best(evidence.history) <= _TURNED and not _is_brief(evidence):
        yield Finding("good", "length", f"the held-out curve has settled ({epochs:.0f} epochs)")


def _kept(training: TrainingSummary) -> str:
    best = f"held-out images came out best at epoch {training.kept_epoch}, whose weights are kept"
    if training.planned_epochs:
        return f"training stopped early, at epoch {training.epochs:.0f} of {training.planned_epochs:.0f}: {best}"
    return f"{best}; the other {training.epochs - (training.kept_epoch or 0):.0f} epochs brought nothing"


def _longer(evidence: Evidence) -> str:
    """How to train longer; "" where that would not help, as after overfitting."""
    if evidence.foreign or _gap(evidence) > _OVERFITTED or turned_from_best(evidence.history) > _TURNED:
        return ""
    asked, epochs = evidence.training.minutes, evidence.training.epochs
    more = f"`minutes` {max(5, round(4 * asked))}" if asked else f"`epochs` {max(10, round(4 * epochs))}"
    return f"run the same command with {more} to resume this run"


def _latent(evidence: Evidence) -> Iterator[Finding]:
    kl = evidence.evaluation.kl_per_dimension
    crowded = _CROWDED if len(kl) > 1 else 1.0  # one number is never enough
    if kl and len(kl) <= _SMALL_LATENT and min(kl) > crowded / 2 and sum(kl) / len(kl) > crowded:
        plural = "s hold" if len(kl) > 1 else " holds"
        yield Finding(
            "problem" if len(kl) == 1 else "note",
            "latent too small",
            f"the {len(kl)} latent dimension{plural} {sum(kl) / len(kl):.1f} nats each, as much as they can: "
            "everything else is blurred",
            "`latent_dim` 32" + (", unless a map of two dimensions is what you want" if len(kl) == 2 else ""),
        )


def _prior(evidence: Evidence) -> Iterator[Finding]:
    rows = {row.name.split(" prior")[0]: row for row in evidence.evaluation.samples}
    fitted, standard = rows.get("fitted"), rows.get("standard")
    if fitted and standard and standard.images >= _SURE and standard.frechet > _MISFIT * fitted.frechet:
        yield Finding(
            "note",
            "prior",
            f"the latents do not match N(0, I): samples from it are {standard.frechet / fitted.frechet:.0f} times as "
            "far from the images as samples from the fitted prior",
            "leave `prior` fitted as it is; `beta` 2 closes the gap at the price of detail",
        )


def _samples(evidence: Evidence) -> Iterator[Finding]:
    first: SampleMetrics | None = next(iter(evidence.evaluation.samples), None)
    if first is None or first.images < HELD_OUT_NEEDS:
        return
    if first.diversity < _MONOTONOUS:
        yield Finding(
            "problem",
            "monotonous samples",
            f"sample diversity is {first.diversity:.2f} of that of the images",
            "sample with `temperature` 1" if first.name.startswith("fitted") else _longer(evidence),
        )
    near = max(first.near_copies or 0.0, first.near_copies_in_features or 0.0)
    if near > _NEAR_COPIES and first.images >= MIN_COMPARED:
        yield Finding(
            "note",
            "copies",
            f"{near:.0%} of the samples are nearer to a training image than 95 % of held-out images are",
            "compare the pairs in report.html: some may be copies; more images, or `guidance` 1, give fewer",
        )


_RULES = (_alike, _baselines, _diverged, _collapse, _likelihood, _overfitting, _length, _latent, _prior, _samples)
_RULES_FOR_OTHER_IMAGES = (_elsewhere, _baselines, _prior, _samples)


def measured(lines: Sequence[EpochReport]) -> list[tuple[EpochReport, Metrics]]:
    """Lines with held-out metrics on as many images as the first: the last may be measured on more."""
    found = [(line, line.held_out) for line in lines if line.held_out]
    return [(line, held_out) for line, held_out in found if held_out.images == found[0][1].images]


def curve(lines: Sequence[EpochReport]) -> list[float]:
    """Held-out -ELBO at the end of each epoch, or of an autoencoder the reconstruction."""
    return [
        held_out.reconstruction if held_out.negative_elbo is None else held_out.negative_elbo
        for _, held_out in measured(lines)
    ]


def rose(lines: Sequence[EpochReport]) -> bool:
    """Whether the loss ended clearly higher than it began, on held-out and on training images."""
    training = [line.loss for line in lines]
    return all(
        len(values) > 1 and values[-1] > values[0] + _ROSE * abs(values[0]) for values in (curve(lines), training)
    )


def turned_from_best(lines: Sequence[EpochReport]) -> float:
    """How far the curve ends above its best, as a share of its range; 0 where that is no overfitting."""
    nats = curve(lines)
    if rose(lines):
        return 0.0
    return (nats[-1] - min(nats)) / (max(nats) - min(nats)) if len(nats) > 2 and max(nats) > min(nats) else 0.0


def late_gain(lines: Sequence[EpochReport]) -> float | None:
    """Gain of the last third of the steps, as a share of the whole gain after the first epoch."""
    nats = curve(lines)
    steps = [line.step for line, _ in measured(lines)]
    if len(nats) < 4:
        return None
    early = [value for step, value in zip(steps, nats, strict=True) if step <= steps[-1] * 2 / 3]
    before = early[-1] if early else nats[0]
    gained = nats[0] - min(nats)
    return (before - nats[-1]) / gained if gained > 0 else None
