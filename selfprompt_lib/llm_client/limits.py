"""What a run may use: dollars, and requests and tokens a minute.

List prices come from the library `genai-prices`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiolimiter import AsyncLimiter

from ..errors import require
from ..sections import Client
from .endpoint import Endpoint
from .prompt import token_limit

TEMPLATE_TOKENS = 500  # more than any chat template and JSON schema add


@dataclass
class Price:
    """The price of a model and what has been spent; dollars are None where the price is unknown.

    `own` is (input, output) in US dollars per million tokens, from the profile; without it the
    library is asked for `model`, at the provider of `url` where it knows that.
    """

    model: str
    url: str | None = None
    own: tuple[float, float] | None = None
    budget: float | None = None
    spent: float = 0.0
    reserved: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: Client, endpoint: Endpoint) -> "Price":
        """The price of the model that is asked; a local one costs nothing.

        Raises:
            UserError: a budget without a known price.
        """
        own = (0.0, 0.0) if endpoint.process else settings.price
        price = cls(endpoint.name, endpoint.base_url, own, settings.budget)
        section = settings.section
        require(
            settings.budget is None or price.dollars(1000, 1000) is not None,
            f"{section}.budget: the price of {endpoint.name} is unknown; set {section}.price to "
            "[input, output] in dollars per million tokens, or leave the budget out",
        )
        return price

    def dollars(self, input_tokens: int, output_tokens: int, cached: int = 0) -> float | None:
        """US dollars for these tokens (`cached` of the input ones were read from a cache)."""
        if self.own:
            return (self.own[0] * input_tokens + self.own[1] * output_tokens) / 1e6
        from genai_prices import Usage, calc_price  # half a second that a local model spares

        tokens = Usage(input_tokens=input_tokens, cache_read_tokens=cached or None,
                       output_tokens=output_tokens)
        for provider in ({"provider_api_url": self.url}, {}) if self.url else ({},):
            try:
                return float(calc_price(tokens, model_ref=self.model, **provider).total_price)
            except (LookupError, ValueError):
                continue
        return None

    def worst_case(self, body: dict[str, Any]) -> float:
        """The most that one request can cost: no tokenizer makes more tokens than bytes."""
        sent = sum(len(turn["content"].encode()) for turn in body["messages"])
        return self.dollars(sent + TEMPLATE_TOKENS, token_limit(body)) or 0.0

    def reserve(self, key: str, body: dict[str, Any]) -> bool:
        """Set the worst case of a request aside; False where that could pass the budget."""
        worst = self.worst_case(body)
        at_most = self.spent + sum(self.reserved.values()) + worst
        if self.budget is not None and at_most > self.budget:
            return False
        self.reserved[key] = worst
        return True

    def settle(self, key: str, dollars: float | None) -> None:
        """Put what a request did cost (0 where it failed) in the place of its worst case."""
        self.reserved.pop(key, None)
        self.spent += dollars or 0.0

    def spent_text(self) -> str:
        """What the run has cost so far."""
        return "price unknown" if self.dollars(1, 1) is None else f"${self.spent:.2f}"


class RateLimits:
    """The requests and tokens that a profile allows in any minute."""

    def __init__(self, settings: Client):
        self.requests = leaky_bucket(settings.requests_per_minute)
        self.tokens = leaky_bucket(settings.tokens_per_minute)
        self._first_in_line = asyncio.Lock()

    async def wait(self, body: dict[str, Any], stopped: Callable[[], Any]) -> None:
        """Return once the limits let a request through, or `stopped()` is true."""
        async with self._first_in_line:
            for bucket, amount in ((self.requests, 1), (self.tokens, rated_tokens(body))):
                while bucket and amount > 0 and not stopped():
                    part = min(amount, bucket.max_rate)  # more than the bucket holds goes in parts
                    if bucket.has_capacity(part):
                        await bucket.acquire(part)
                        amount -= part
                    else:
                        await asyncio.sleep(0.05)


def leaky_bucket(per_minute: int | None) -> AsyncLimiter | None:
    """A leaky bucket that lets at most `per_minute` through in any 60 seconds.

    A bucket of capacity c that leaks r a second lets c + 60 r through: a tenth may come at once.
    """
    if per_minute is None:
        return None
    burst = max(1.0, per_minute / 10)
    return AsyncLimiter(burst, 60 * burst / max(per_minute - burst, 0.5 * per_minute))


def rated_tokens(body: dict[str, Any]) -> int:
    """Tokens of a request as servers count them: sent (estimated), and allowed to be written."""
    sent = sum(len(turn["content"].encode()) for turn in body["messages"])
    return sent // 3 + token_limit(body)
