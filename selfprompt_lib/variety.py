"""Training data of equal size that vary in one thing: domains, copies, experts, roles (chapter 1).

The fields are `data.domains`, `data.duplicates`, `data.experts`, `data.shuffled_roles` and
`data.without_role`. They apply in this order, the first before `data.train_rows` are picked, the
others to the picked rows (`vary`). Which rows a share takes is spread evenly over the domains, so
that a larger share takes those of a smaller one and more; each field takes others. Only *whose*
role a shuffled sample gets is drawn, with the profile's seed.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import count as count_from
from itertools import product
from typing import Any

import numpy as np

from .errors import require
from .profiles import Profile
from .rows import Role, Sample

UNKNOWN = "unknown"  # the domain of a row that names none
# Each field takes its rows by a dimension of Halton's sequence of its own: the rows of one are then
# no subset of another's.
SHARES = ("data.duplicates", "data.shuffled_roles", "data.without_role")
OPENINGS = ("Hello!", "I have a question:", "Could you help me?", "Please tell me:", "Hi there.",
            "A quick question:", "Here is what I would like to know:", "Can you help me with this?")
ENDS = ("", "Thank you!", "Thanks in advance.", "Many thanks.")
POLITE = [(opening, end) for end, opening in product(ENDS, OPENINGS)]


def only_domains(profile: Profile, samples: Sequence[Sample]) -> list[Sample]:
    """The samples of `data.domains` domains, which lie evenly in the file's list (chapter 1).

    Raises:
        UserError: fewer domains than that, or fewer samples in them than `data.train_rows`.
    """
    wanted, data = profile.data.domains, profile.data
    if wanted is None:
        return list(samples)
    names = [name for name in dict.fromkeys(s.domain for s in samples) if name != UNKNOWN]
    require(wanted <= len(names),
            f"data.domains: {wanted}, and the samples of {data.train} have {len(names)}: "
            f"{', '.join(names) or 'they name none'}; set it lower, or give each row its domain")
    chosen = {names[place] for place in _spread(len(names))[:wanted]}
    found = [sample for sample in samples if sample.domain in chosen]
    require_rows(profile, len(found))
    return found


def require_rows(profile: Profile, there: int) -> None:
    """Stop where the chosen domains have too few samples to compare at equal size.

    Raises:
        UserError: with the number of samples that there are.
    """
    data = profile.data
    require(data.domains is None or there >= (data.train_rows or 0),
            f"data.domains: {data.domains} of {data.train} has {there} samples to train on, fewer "
            f"than data.train_rows, {data.train_rows}; set data.train_rows to {there} or lower, in "
            "all that is to be compared, or take more domains")


def vary(profile: Profile, samples: Sequence[Sample]) -> list[Sample]:
    """The picked samples, as many, with copies, experts and roles as the profile says (chapter 1).

    Args:
        samples: each with a role, if a field changes roles.

    Raises:
        UserError: a field that cannot be had of these samples.
    """
    data, found = profile.data, list(samples)
    if data.duplicates:
        found = add_duplicates(found, data.duplicates)
    if data.experts is not None:
        found = thin_experts(found, data.experts, profile.roles.embedder)
    if data.shuffled_roles:
        found = shuffle_roles(found, data.shuffled_roles, profile.seed)
    if data.without_role:
        found = drop_roles(found, data.without_role)
    return found


def check(profile: Profile, samples: Sequence[Sample]) -> None:
    """Whether `vary` will work on these samples, without its one slow step, the experts' vectors.

    Of samples that have no roles yet, only the sizes of the shares are checked.

    Raises:
        UserError: as `vary`.
    """
    off = {"experts": None}
    if not all(sample.role for sample in samples):
        if profile.data.shuffled_roles:
            _choose(samples, profile.data.shuffled_roles, "data.shuffled_roles", least=2)
        off["shuffled_roles"] = 0
    elif profile.data.experts is not None:
        _require_experts(samples, profile.data.experts)
    vary(profile.model_copy(update={"data": profile.data.model_copy(update=off)}), samples)


def add_duplicates(samples: Sequence[Sample], share: float) -> list[Sample]:
    """This share of the samples replaced by near-copies of samples that stay (chapter 1).

    A copy has its original's answers and role; its question begins or ends more politely. Originals
    are of the domain of what they replace, where one stays there. A copy's `role_of` names them.
    """
    places = set(_choose(samples, share, "data.duplicates"))
    staying = [sample for place, sample in enumerate(samples) if place not in places]
    pools: dict[str, list[Sample]] = defaultdict(list)
    for sample in staying:
        pools[_group(sample)].append(sample)
    taken, copies, found = {sample.id for sample in samples}, Counter(), list(samples)
    for place in sorted(places):
        pool = pools.get(_group(samples[place]), staying)
        original = min(pool, key=lambda sample: copies[sample.id])
        found[place] = _copy(original, copies[original.id], taken)
        taken.add(found[place].id)
        copies[original.id] += 1
    return found


def thin_experts(samples: Sequence[Sample], count: int, embedder: str = "starter") -> list[Sample]:
    """The samples with `count` experts: each has the most typical one of its cluster (chapter 1).

    Clusters are k-means of the experts' vectors, from a fixed start. What the expert brings and the
    request stay as they are, so that "brings" may not fit the new expert.

    Raises:
        UserError: fewer different experts than that.
    """
    from sklearn.cluster import KMeans  # these take seconds to load

    from .roles.metrics import embed, load_embedder

    _require_experts(samples, count)
    experts = [sample.role.expert for sample in samples]
    vectors = embed(load_embedder(embedder), experts)  # shape (samples, width)
    found = KMeans(count, n_init=4, random_state=0).fit(vectors)
    nearness = vectors @ found.cluster_centers_.T  # shape (samples, clusters)
    own = found.labels_[:, None] == range(count)  # shape (samples, clusters)
    typical = [experts[place] for place in np.where(own, nearness, -np.inf).argmax(axis=0)]
    return [_with(sample, role=sample.role.model_copy(update={"expert": typical[label]}))
            for sample, label in zip(samples, found.labels_, strict=True)]


def shuffle_roles(samples: Sequence[Sample], share: float, seed: int) -> list[Sample]:
    """The samples, this share of which have changed roles among themselves, none its own.

    Raises:
        UserError: fewer than two samples, or more than half of them with the same role.
    """
    places = _choose(samples, share, "data.shuffled_roles", least=2)
    counts = Counter(samples[place].role for place in places)
    most = max(counts.values())  # copies have their original's role
    require(2 * most <= len(places),
            f"data.shuffled_roles: {most} of {len(places)} samples have one role, so that each "
            "cannot get another; set it higher, or data.duplicates lower")
    drawn = np.random.default_rng(seed).permutation(len(counts))
    number = dict(zip(counts, drawn, strict=True))
    # Samples of one role stand together, at most `most` and at most half of all: `most` places
    # further on, with the first behind the last, stands another role.
    order = sorted(places, key=lambda place: number[samples[place].role])
    found = list(samples)
    for step, place in enumerate(order):
        other = samples[order[(step + most) % len(order)]]
        found[place] = _with(samples[place], role=other.role, role_of=other.role_of or other.id)
    return found


def drop_roles(samples: Sequence[Sample], share: float) -> list[Sample]:
    """The samples, this share of which will be trained as bare answers (`role_free`)."""
    places = set(_choose(samples, share, "data.without_role"))
    return [_with(sample, role_free=True) if place in places else sample
            for place, sample in enumerate(samples)]


def summarize(profile: Profile, samples: Sequence[Sample],
              training: Sequence[Sample]) -> dict[str, int]:
    """What the training set came to be, for the record of chapter 1: numbers of samples and kinds.

    Args:
        samples: all before `vary`, to tell the copies; training: the training set.
    """
    ids = {sample.id for sample in samples}
    return {
        "domains": len({sample.domain for sample in training}),
        "experts": len({sample.role.expert.lower() for sample in training
                        if isinstance(sample.role, Role)}),
        "copies": sum(sample.id not in ids for sample in training),
        "shuffled_roles": round(profile.data.shuffled_roles * len(training)),
        "role_free": sum(sample.role_free for sample in training),
    }


def _choose(samples: Sequence[Sample], share: float, field: str, least: int = 1) -> list[int]:
    """The places of a share of the samples: from each domain its part, at most one more or less."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, sample in enumerate(samples):
        groups[_group(sample)].append(place)
    ranked = [((turn + 0.5) / len(places), number, places[rank])
              for number, places in enumerate(groups.values())
              for turn, rank in enumerate(_spread(len(places), SHARES.index(field)))]
    wanted = round(share * len(samples))
    require(least <= wanted, f"{field}: {share:g} of {len(samples)} samples is {wanted}, and the "
                             f"least is {least}; set it higher, or data.train_rows")
    return [place for _, _, place in sorted(ranked)[:wanted]]


def _spread(count: int, dimension: int = 0) -> list[int]:
    """The numbers below `count` in an order whose beginnings lie evenly: Halton's.

    The first number comes late: it is a domain's first sample, which chapters show.
    """
    from scipy.stats import qmc, rankdata  # SciPy takes a second to load

    points = qmc.Halton(len(SHARES), scramble=False).fast_forward(1).random(count)
    return [int(rank) - 1 for rank in rankdata(1 - points[:, dimension])]


def _group(sample: Sample) -> str:
    """The domain; LIMA has only sources."""
    return sample.source if sample.domain == UNKNOWN else sample.domain


def _copy(original: Sample, number: int, taken: set[str]) -> Sample:
    names = (f"{original.id}-copy-{k}" for k in count_from(number + 1))
    turns = (_reword(original.question, number), *original.conversations[1:])
    return _with(original, id=next(name for name in names if name not in taken),
                 conversations=turns, role_of=original.id)


def _reword(question: str, number: int) -> str:
    """The question with a polite beginning or end; each number has its own words."""
    if number >= len(POLITE):
        question = _reword(question, number // len(POLITE) - 1)
    opening, end = POLITE[number % len(POLITE)]
    gap = "\n\n" if "\n" in question else " "  # a list or a program keeps its lines
    return gap.join(filter(None, (opening, question, end)))


def _require_experts(samples: Sequence[Sample], count: int) -> None:
    there = len({sample.role.expert for sample in samples})
    require(count <= there, f"data.experts: {count}, and the {len(samples)} training samples have "
                            f"{there} different experts; set it to {there} or lower")


def _with(sample: Sample, **fields: Any) -> Sample:
    return sample.model_copy(update=fields)
