"""Rule-based diagnosis of a training from its evaluation: findings, graded, with advice against problems."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from latentcli.config import ModelConfig
from latentcli.data.sources import HELD_OUT_NEEDS
from latentcli.evaluation.result import MIN_COMPARED, Evaluation
from latentcli.presets import FEW_IMAGES, default_epochs, images_seen
from latentcli.storage.history import ACTIVE_KL, EpochReport, Metrics, TrainingSummary

Grade = Literal["good", "note", "problem"]

# Thresholds of the rules below; benchmarks/spoiled.py checks all on seven trainings that are spoiled on purpose.
_WON = 0.5  # dB of PSNR over a baseline that count as better
_EXACT = 45.0  # dB of PSNR that count as almost exact: an error of 1.4 gray levels
_ALIKE = 0.02  # images are alike below this standard deviation of pixels (0 to 1) around the mean image
_BY_HEART = 200  # fewer training images than this can be memorised
_OVERFITTED = 1.5  # dB of PSNR between training and held-out images that count as overfitting
_TURNED, _TURNED_FAR = 0.02, 0.1  # rise of the held-out -ELBO above its minimum, as a share of its range
_ROSE = 0.02  # rise of the loss as a share of its first value: a short run that starts from PCA may rise a little
_SURE = 50  # held-out images needed to be sure of a finding, and for a kernel distance
_FEW_EPOCHS = 5  # fewer epochs than this are too few, unless the images are very many
_BRIEF = 0.2  # share of the preset's epochs: below it a flat curve only shows the end of the cosine schedule
_ALMOST_NOTHING = 3.0  # nats of KL over all dimensions: log(20), enough to distinguish twenty images
_STILL_FALLING = 0.1  # share of a run's whole gain; with more in its last third, the run was too short
_CROWDED = 3.0  # nats per latent dimension, above which each dimension is full
_SMALL_LATENT = 8  # latent dimensions up to which a latent may be too small
_BLACK_AND_WHITE = 0.7  # share of pixel values near 0 or 1 above which images count as black and white
# The standard prior's kernel distance over the fitted prior's, above which latents are not N(0, I): 30 for the bundled
# avatars and 4 for emoji, 1.2 for faces and 1.3 for digits.
_MISFIT = 3.0
_NO_CHANCE = 0.01  # probability of as many copies by chance, below which samples count as copies
_MONOTONOUS = 0.5  # diversity of the samples over that of held-out images, below which samples are monotonous
_SIMILAR = "else start from a model of similar pictures with `start_from` MODEL"
_FOLLOWS_COLLAPSE = ("baseline", "monotonous samples")  # topics left out beside "collapse", the cause of both


@dataclass(frozen=True, slots=True)
class Finding:
    """One graded statement about a training or a model, with advice if something can be done."""

    grade: Grade
    about: str  # the topic in one or two words, for programs
    text: str
    advice: str = ""

    def describe(self) -> str:
        """Grade, text and advice of the finding in one line."""
        return f"{self.grade}: {self.text}{f' -> {self.advice}' if self.advice else ''}"


@dataclass(frozen=True)
class Evidence:
    """Measurements of a training and its model, from which `diagnose` derives findings."""

    config: ModelConfig
    evaluation: Evaluation
    training: TrainingSummary
    history: Sequence[EpochReport]
    foreign: bool = False  # whether the evaluated images are unrelated to the training's images

    @cached_property
    def curve(self) -> list[float]:
        """Held-out loss in nats at each measured epoch: the -ELBO, or an autoencoder's reconstruction term."""
        metrics = [held_out for _, held_out in measured(self.history)]
        return [each.reconstruction if each.negative_elbo is None else each.negative_elbo for each in metrics]

    @cached_property
    def rose(self) -> bool:
        """Whether the loss ended clearly above its first value, on held-out images and on training images alike."""
        losses = (self.curve, [line.loss for line in self.history])
        return all(len(nats) > 1 and nats[-1] > nats[0] + _ROSE * abs(nats[0]) for nats in losses)

    @cached_property
    def turned(self) -> float:
        """(last - minimum) / (maximum - minimum) of the held-out loss; 0 if `rose` or below three measurements."""
        nats = self.curve
        if self.rose or len(nats) < 3 or max(nats) == min(nats):
            return 0.0
        return (nats[-1] - min(nats)) / (max(nats) - min(nats))

    @cached_property
    def late_gain(self) -> float | None:
        """Share of the held-out loss's decrease in the last third of steps; None without one or below four epochs."""
        nats, steps = self.curve, [line.step for line, _ in measured(self.history)]
        if len(nats) < 4 or nats[0] <= min(nats):
            return None
        early = [value for step, value in zip(steps, nats, strict=True) if step <= steps[-1] * 2 / 3]
        return ((early[-1] if early else nats[0]) - nats[-1]) / (nats[0] - min(nats))

    @property
    def gap(self) -> float:
        """PSNR of training images minus PSNR of held-out images, in dB; 0 if only held-out images were measured."""
        training = self.evaluation.training
        return training.psnr - self.evaluation.held_out.psnr if training else 0.0

    @property
    def is_brief(self) -> bool:
        return self.training.epochs < _BRIEF * default_epochs(self.config, self.training.images)

    @property
    def has_settled(self) -> bool:
        """Whether the held-out loss has levelled off, so that longer training would not help."""
        if self.foreign or self.training.epochs < _FEW_EPOCHS or self.is_brief or self.late_gain is None:
            return False
        return self.late_gain <= _STILL_FALLING

    @property
    def longer(self) -> str:
        """Advice to repeat the command with more `epochs` or `minutes`; "" after overfitting, which would get worse."""
        if self.foreign or self.gap > _OVERFITTED or self.turned > _TURNED:
            return ""
        asked, epochs = self.training.minutes, self.training.epochs
        more = f"`minutes` {max(5, round(4 * asked))}" if asked else f"`epochs` {max(10, round(4 * epochs))}"
        return f"run the same command with {more} to resume this run"


def measured(lines: Sequence[EpochReport]) -> list[tuple[EpochReport, Metrics]]:
    """Pairs (line, its held-out metrics) of the `lines` measured on as many images as the first measured line."""
    pairs = [(line, line.held_out) for line in lines if line.held_out]
    return [(line, held_out) for line, held_out in pairs if held_out.images == pairs[0][1].images]


def diagnose(evidence: Evidence) -> list[Finding]:
    """Findings about a training from its `evidence`: problems first, then notes, then what went well."""
    rules = _RULES_FOR_OTHER_IMAGES if evidence.foreign else _RULES
    findings = [finding for rule in rules for finding in rule(evidence)]
    topics = {finding.about for finding in findings}
    if "alike" in topics:  # no other finding means anything for nearly identical images
        findings = [finding for finding in findings if finding.about == "alike"]
    if "collapse" in topics:
        findings = [finding for finding in findings if finding.about not in _FOLLOWS_COLLAPSE]
    return sorted(findings, key=lambda finding: ("problem", "note", "good").index(finding.grade))


def _alike(evidence: Evidence) -> Iterator[Finding]:
    pixels = evidence.evaluation.pixels
    if pixels.images > 1 and pixels.deviation < _ALIKE:
        levels = f"{255 * pixels.deviation:.1f} gray levels from their mean"
        text = f"the images are nearly identical ({levels}), so there is nothing to learn from them"
        advice = "train on a folder of different pictures; latentcli check shows what is in one"
        yield Finding("problem", "alike", text, advice)


def _elsewhere(evidence: Evidence) -> Iterator[Finding]:
    text = (
        f"the model was trained on other images, those of {evidence.training.data}: these metrics describe it on new "
        "data and say nothing about the training"
    )
    yield Finding("note", "other images", text)


def _baselines(evidence: Evidence) -> Iterator[Finding]:
    psnr, sharp = evidence.evaluation.held_out.psnr, evidence.training.sharpening
    given_up = sharp.before.psnr - sharp.after.psnr if sharp else 0.0
    wider = "a longer run will not help; a larger `latent_dim` keeps more"
    for baseline in evidence.evaluation.baselines:
        name, gain = baseline.name, psnr - baseline.psnr
        exact = f"{name} reconstructs these images almost exactly, and so does this model"
        sharpened = (
            f"sharpening gave up {given_up:.1f} dB for detail: reconstructions are no nearer to the images than those "
            f"of {name}"
        )
        settled = f"the curve has settled, and reconstructions are no better than those of {name}"
        cases: tuple[tuple[bool, Grade, str, str], ...] = (
            (gain > _WON, "good", f"reconstructions beat the {name} by {gain:.1f} dB", ""),
            (name == "mean image", "problem", f"reconstructions are no better than the {name}", evidence.longer),
            (min(psnr, baseline.psnr) > _EXACT, "good", exact, ""),
            (sharp is not None, "note", sharpened, ""),
            (evidence.has_settled, "note", settled, wider),
            (True, "note", f"reconstructions are not yet better than those of {name}", evidence.longer),
        )
        _, grade, text, advice = next(case for case in cases if case[0])
        yield Finding(grade, "baseline", f"{text} ({psnr:.1f} dB against {baseline.psnr:.1f} dB)", advice)


def _diverged(evidence: Evidence) -> Iterator[Finding]:
    skipped = max((line.skipped_steps for line in evidence.history), default=0)
    steps = evidence.training.steps
    if skipped > 0.01 * steps or evidence.rose:
        lost = f"{skipped} of {steps} steps had no finite gradient"
        how = lost if skipped > 0.01 * steps else "the loss ended higher than it began, on training images too"
        advice = f"`learning_rate` {evidence.training.learning_rate / 4:g}"
        yield Finding("problem", "diverged", f"training diverged: {how}", advice)


def _collapse(evidence: Evidence) -> Iterator[Finding]:
    kl, beta = evidence.evaluation.kl_per_dimension, evidence.training.beta
    active = sum(nats > ACTIVE_KL for nats in kl)
    dead = len(kl) - active
    why = f"beta {beta:g} penalises it too heavily" if beta > 1 else "the decoder ignores it"
    advice = "`beta` 1" if beta > 1 else "`beta` 0.5, or a longer run"
    if kl and active == 0:
        yield Finding("problem", "collapse", f"the latent is not used at all: {why}", advice)
    elif sum(kl) < min(_ALMOST_NOTHING, len(kl)):
        text = f"the latent carries almost nothing: {active} of {len(kl)} dimensions, {sum(kl):.1f} nats; {why}"
        yield Finding("problem", "collapse", text, advice)
    elif dead > len(kl) / 2 and evidence.training.images > len(kl):
        advice = f"that costs little; `latent_dim` {max(2, 2 * active)} would do"
        yield Finding("note", "dead dimensions", f"{dead} of {len(kl)} latent dimensions carry nothing", advice)


def _likelihood(evidence: Evidence) -> Iterator[Finding]:
    config, near_ends = evidence.config, evidence.evaluation.pixels.near_ends
    is_black_and_white = near_ends > _BLACK_AND_WHITE
    if config.likelihood == "bernoulli" and not is_black_and_white:
        text = (
            f"the Bernoulli likelihood is meant for black and white images, and only {near_ends:.0%} of these pixels "
            "are nearly black or white: its metrics are not likelihoods, and contrasts come out weak"
        )
        yield Finding("problem", "likelihood", text, "`likelihood` gaussian")
    if config.likelihood == "gaussian" and is_black_and_white and not (config.has_colour or config.has_alpha):
        text = f"{near_ends:.0%} of these pixels are nearly black or white, which a Gaussian likelihood blurs"
        yield Finding("problem", "likelihood", text, "`likelihood` bernoulli")


def _nothing_held_out(evidence: Evidence) -> Iterator[Finding]:
    images = evidence.training.images
    if not evidence.evaluation.on_training:
        return
    if images >= HELD_OUT_NEEDS:
        text = "no images were held out, so performance on new images is unknown"
        advice = "`held_out` 0.2, or `held_out` DIR"
    else:
        text = f"{images} images are too few to hold some out: the model knows these by heart, and others hardly at all"
        advice = f"add images: from {HELD_OUT_NEEDS} on some are held out, a few hundred are a start; {_SIMILAR}"
    yield Finding("note", "nothing held out", text, advice)


def _overfitting(evidence: Evidence) -> Iterator[Finding]:
    result, images, gap = evidence.evaluation, evidence.training.images, evidence.gap
    turned = 0.0 if evidence.training.kept_epoch else evidence.turned
    held_out = result.held_out.images
    memorises, differs = images < _BY_HEART, gap > _OVERFITTED
    if (result.on_training and images < HELD_OUT_NEEDS) or not (memorises or differs or turned > _TURNED):
        return
    reasons = {
        f"{images} images are few enough to learn by heart": memorises,
        f"reconstructions of training images are {gap:.1f} dB better than those of held-out ones": differs,
        "held-out metrics were better earlier in the run": turned > _TURNED,
        f"{held_out} held-out images are too few to be sure": not result.on_training and 0 < held_out < _SURE,
    }
    text = ", ".join(reason for reason, holds in reasons.items() if holds)
    advice = f"more images help most; {_SIMILAR if images < FEW_IMAGES else 'else `beta` 2'}"
    yield Finding("problem" if differs or turned > _TURNED_FAR else "note", "overfitting", text, advice)


def _length(evidence: Evidence) -> Iterator[Finding]:
    training, late = evidence.training, evidence.late_gain
    epochs, kept, planned = training.epochs, training.kept_epoch, training.planned_epochs
    best = f"held-out images came out best at epoch {kept}, whose weights are kept"
    if planned:
        text = f"training stopped early, at epoch {epochs:.0f} of {planned:.0f}: {best}"
        yield Finding("note", "length", text)
    elif kept and kept < (1 - _TURNED) * epochs:
        yield Finding("note", "length", f"{best}; the other {epochs - kept:.0f} epochs brought nothing")
    elif epochs < _FEW_EPOCHS and epochs * training.images < images_seen(evidence.config):
        minutes = training.seconds / 60
        text = f"each image was seen {epochs:.1f} times in {minutes:.1f} minutes: too little training"
        yield Finding("problem", "too little training", text, evidence.longer)
    elif late is not None and late > _STILL_FALLING:
        text = f"the last third of the run brought {late:.0%} of the whole gain: too little training"
        yield Finding("note", "too little training", text, evidence.longer)
    elif late is not None and evidence.turned <= _TURNED and not evidence.is_brief:
        yield Finding("good", "length", f"the held-out curve has settled ({epochs:.0f} epochs)")


def _latent(evidence: Evidence) -> Iterator[Finding]:
    kl = evidence.evaluation.kl_per_dimension
    crowded = _CROWDED if len(kl) > 1 else 1.0  # one dimension is never enough
    if kl and len(kl) <= _SMALL_LATENT and min(kl) > crowded / 2 and sum(kl) / len(kl) > crowded:
        plural = "s hold" if len(kl) > 1 else " holds"
        text = (
            f"the {len(kl)} latent dimension{plural} {sum(kl) / len(kl):.1f} nats each, as much as they can: "
            "everything else is blurred"
        )
        advice = "`latent_dim` 32" + (", unless a map of two dimensions is what you want" if len(kl) == 2 else "")
        yield Finding("problem" if len(kl) == 1 else "note", "latent too small", text, advice)


def _prior(evidence: Evidence) -> Iterator[Finding]:
    rows = {row.name.split(" prior")[0]: row for row in evidence.evaluation.samples}
    fitted, standard = rows.get("fitted"), rows.get("standard")
    if not (fitted and standard) or standard.images < _SURE:
        return
    nearest = max(fitted.kernel, fitted.kernel_margin or 0.0)
    if standard.kernel - (standard.kernel_margin or 0.0) > _MISFIT * nearest > 0:
        text = (
            f"the latents do not match N(0, I): samples from it are {standard.kernel / nearest:.0f} times as far from "
            "the images as samples from the fitted prior"
        )
        yield Finding("note", "prior", text, "leave `prior` fitted as it is")


def _samples(evidence: Evidence) -> Iterator[Finding]:
    first = next(iter(evidence.evaluation.samples), None)
    if first is None or first.images < HELD_OUT_NEEDS:
        return
    if first.diversity < _MONOTONOUS:
        text = f"sample diversity is {first.diversity:.2f} of that of the images"
        yield Finding("problem", "monotonous samples", text, evidence.longer)
    chance = first.copied_by_chance
    # Reconstructions of images of another kind are no measure of how near new samples are to training images.
    if evidence.foreign or not first.copied or chance is None:
        return
    if chance < _NO_CHANCE and first.images >= MIN_COMPARED:
        text = f"{first.copied:.0%} of the samples, at least, seem to be copies of training images"
        advice = "compare the pairs in report.html: some may be copies; more images give fewer"
        yield Finding("note", "copies", text, advice)


_RULES = (
    _alike, _baselines, _diverged, _collapse, _likelihood, _nothing_held_out, _overfitting, _length, _latent, _prior,
    _samples,
)  # fmt: skip
_RULES_FOR_OTHER_IMAGES = (_elsewhere, _baselines, _prior, _samples)
