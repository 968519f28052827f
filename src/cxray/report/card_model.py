"""Evidence that a bundle gives: how the model was made. One key of the checklists a function, "" for nothing.

A model known from its scores only has no bundle: then nothing is said of how it was made.
"""

from __future__ import annotations

from markupsafe import Markup

from cxray.report import statements
from cxray.report.card_sources import Sources
from cxray.report.sentences import name, policy

_NOTHING = Markup("")


def title(sources: Sources) -> Markup:
    """What kind of study the title has to name."""
    if not sources.bundle:
        return Markup("A model for radiographs known from its scores, judged by AUROC, sensitivity and specificity.")
    classes = Markup(", ").join(name(one, 28) for one in sources.bundle.get("classes", ()))
    return Markup("A neural network for radiographs, {}, judged by AUROC, sensitivity and specificity.").format(classes)


def intended_use(sources: Sources) -> Markup:
    """The bundle's own statement, and the question of the protocol."""
    parts = [str(sources.bundle.get("intended_use") or "")]
    parts.append(str((sources.facts.get("protocol") or {}).get("question") or ""))
    return Markup(" ").join(part for part in parts if part)


def data_source(sources: Sources) -> Markup:
    """Where the data came from is for the authors; here is what identifies them."""
    digest = (sources.bundle.get("data") or {}).get("fingerprint")
    return Markup("Training data with fingerprint <code>{}</code>.").format(digest[:12]) if digest else _NOTHING


def preprocessing(sources: Sources) -> Markup:
    """The input card."""
    card = sources.bundle.get("input") or {}
    if not card:
        return _NOTHING
    fits = {"pad": "padded", "stretch": "stretched"}
    said = "Every film is decoded to one grey channel and {} to {} × {} pixels, 0 to 1{}, by one code path for all."
    return Markup(said).format(
        fits.get(str(card.get("fit")), f"fitted by {card.get('fit')!r}"),
        sources.of_bundle("input/height"),
        sources.of_bundle("input/width"),
        {"window": ", its grey values windowed", "equalise": ", its grey values equalised"}.get(
            str(card.get("intensity")), ""
        ),
    )


def predictors(sources: Sources) -> Markup:
    """What goes into the network."""
    if not sources.bundle:
        return _NOTHING
    return Markup("The pixels of one film and nothing else: no age, no sex, no text, no measurement by a person.")


def index_blinding(sources: Sources) -> Markup:
    """What the model knows when it scores."""
    if not sources.bundle:
        return _NOTHING
    return Markup("Scores are computed from the film alone; the truth is joined only when they are judged.")


def partitions(sources: Sources) -> Markup:
    """Films and patients of each part."""
    parts = [found for split in ("train", "validation") if (found := sources.films_and_patients(split))]
    if sources.judged:
        parts.append(Markup("{} judged").format(sources.judged))
    return Markup("; ").join(parts) + Markup(".") if parts else _NOTHING


def disjoint(sources: Sources) -> Markup:
    """The unit of the split, how sure it is who is one patient, and what an audit found."""
    unit = sources.setting("split", "unit")
    parts = [Markup("The split keeps every {} in one part.").format(str(unit))] if unit else []
    identity = (sources.bundle.get("data") or {}).get("identity") or {}
    if identity.get("confidence"):
        parts.append(Markup("Patients are told apart with {} confidence.").format(str(identity["confidence"])))
    audit = sources.facts.get("audit")
    if isinstance(audit, dict):
        parts.append(Markup("An audit of the data found {} errors.").format(sources.of_facts("audit/errors")))
    return Markup(" ").join(parts)


def model(sources: Sources) -> Markup:
    """The network."""
    backbone = sources.setting("model", "backbone")
    if not backbone:
        return _NOTHING
    head = str(sources.bundle.get("head") or "").replace("_", " ")
    classes = len(sources.bundle.get("classes", ()))
    members = int(sources.bundle.get("members") or 1)
    several = Markup("The mean of {} networks, each of ").format(sources.of_bundle("members")) if members > 1 else ""
    return Markup("{}{} {}, head {}, {} outputs; the whole graph is the file model.onnx.").format(
        several, "backbone" if several else "Backbone", str(backbone), head or "not named", classes
    )


def software(sources: Sources) -> Markup:
    """Versions of what trained it."""
    versions = sources.bundle.get("versions") or {}
    return Markup(", ").join(f"{key} {value}" for key, value in versions.items()) + (Markup(".") if versions else "")


def initialization(sources: Sources) -> Markup:
    """Where the weights started."""
    weights = sources.bundle.get("weights") or sources.setting("model", "weights")
    if not weights:
        return _NOTHING
    return Markup("{}").format(
        "Random weights." if weights == "none" else f"Weights trained on {weights}, then fine-tuned."
    )


def training(sources: Sources) -> Markup:
    """The recipe in one sentence; its fingerprint names the rest."""
    if not sources.recipe:
        return _NOTHING
    parts = [
        Markup("{} {}").format(words, value)
        for words, key in (("seed", "seed"), ("batch size", "batch_size"), ("learning rate", "learning_rate"))
        if (value := sources.of_bundle(f"recipe/train/{key}"))
    ]
    optimizer, digest = sources.setting("train", "optimizer"), str(sources.bundle.get("recipe_fingerprint") or "")
    return Markup("Recipe {} ({}): optimizer {}, {}; augmentation and every other setting are in bundle.json.").format(
        name(str(sources.recipe.get("name") or ""), 28), digest[:12], str(optimizer), Markup(", ").join(parts)
    )


def selection(sources: Sources) -> Markup:
    """Which epoch was kept."""
    monitor = sources.setting("train", "monitor")
    if not monitor:
        return _NOTHING
    if monitor == "last":
        return Markup("The last epoch was kept; no epoch was chosen.")
    return Markup("The epoch with the best {} of the validation patients was kept.").format(
        str(monitor).removeprefix("validation_")
    )


def overfitting(sources: Sources) -> Markup:
    """What was done against it."""
    if not sources.recipe:
        return _NOTHING
    dropout = sources.of_bundle("recipe/model/dropout")
    said = Markup("Augmentation of the training films")
    if dropout:
        said += Markup(", dropout {}").format(dropout)
    if sources.setting("train", "monitor") == "last":
        return said + Markup(".")
    return said + Markup(", and the epoch chosen on validation patients.")


def ensembling(sources: Sources) -> Markup:
    """How many networks, and how many views of a film, one answer is the mean of."""
    if not sources.recipe:
        return _NOTHING
    members = int(sources.bundle.get("members") or 1)
    views = 3 if sources.setting("model", "stretch_average") else 1
    views *= 2 if sources.setting("model", "mirror_average") else 1
    if sources.bundle.get("head") != "pooled_linear":
        views = 1
    networks = f"The mean of {members} networks" if members > 1 else "One network"
    if views > 1:
        return Markup("{}, averaged over {} views of each film (the film, stretched or mirrored).").format(
            networks, views
        )
    return Markup("{}.").format(networks if members > 1 else "One network; no ensemble")


def imbalance(sources: Sources) -> Markup:
    """Weights of the classes, and whether the scores were recalibrated."""
    weights = sources.setting("train", "class_weights")
    if weights is None:
        return _NOTHING
    method = (sources.bundle.get("calibration") or {}).get("method")
    after = f"then recalibrated by {method} scaling on validation patients" if method else "not recalibrated"
    return Markup("Class weights: {}; scores {}.").format(str(weights), after)


def updating(sources: Sources) -> Markup:
    """Whether the evaluation changed the model."""
    said = Markup("None: the evaluation changed nothing in the model.")
    if sources.record("local_patients_to_repair"):
        return said + Markup(" What recalibration on local films would do is in the table repair.")
    return said


def threshold(sources: Sources) -> Markup:
    """The frozen operating point and where it was chosen."""
    if not sources.bundle:
        return _used_threshold(sources)
    found = sources.bundle.get("thresholds") or {}
    parts = []
    for label, entry in found.items():
        value = sources.of_bundle(f"thresholds/{label}/value")
        chosen = Markup(", chosen on {} films for {}").format(str(entry.get("split")), policy(str(entry.get("policy"))))
        parts.append(Markup("{}: positive from a probability of {}{}.").format(name(str(label), 28), value, chosen))
    return Markup(" ").join(parts) or Markup("The most probable class decides; no threshold is frozen.")


def _used_threshold(sources: Sources) -> Markup:
    """The operating point of a judgement without a bundle."""
    parts = [
        Markup("{}: positive from a score of {}, {}.").format(
            name(str(label), 28), value, str(found.get("origin") or "")
        )
        for label, found in (sources.facts.get("thresholds") or {}).items()
        if (value := sources.of_facts(f"thresholds/{label}/value"))
    ]
    return Markup(" ").join(parts)


def robustness(sources: Sources) -> Markup:
    """The stress test on changed validation films, where the bundle was judged with one."""
    if sources.question is None or sources.question.table("stress") is None:
        return _NOTHING
    return statements.robustness(sources.question)


def specification(sources: Sources) -> Markup:
    """How anyone can compute the same scores."""
    digest = (sources.bundle.get("files") or {}).get("model.onnx")
    if not digest:
        return _NOTHING
    return Markup(
        "The bundle holds the whole graph (model.onnx, SHA-256 <code>{}</code>), its input card, thresholds and "
        "a golden film whose scores every load checks."
    ).format(str(digest)[:12])


def poor_input(sources: Sources) -> Markup:
    """What happens to a film that cannot be read or is unlike the training films."""
    if not sources.bundle:
        return _NOTHING
    said = Markup("A film that cannot be read gets a row with the reason and no score.")
    if sources.bundle.get("gate"):
        return said + Markup(" An input gate marks films that are unlike the training films.")
    return said + Markup(" The bundle has no input gate.")


def code_sharing(sources: Sources) -> Markup:
    """The version that made it."""
    version = (sources.bundle.get("versions") or {}).get("cxray")
    return Markup("Made by cxray {}, licensed Apache-2.0.").format(version) if version else _NOTHING


def resampling(sources: Sources) -> Markup:
    """The evaluation's design."""
    del sources
    return Markup("No resampling of the development was used: films of other patients were judged once, as they are.")
