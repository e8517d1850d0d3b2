"""What asking costs: list prices from `genai-prices`, an estimate before, a count while it runs."""

from dataclasses import dataclass, field
from typing import Any

from ..errors import require
from ..sections import Client
from .endpoint import Endpoint

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
        require(settings.budget is None or price.dollars(1000, 1000) is not None,
                f"{settings.section}.budget: the price of {endpoint.name} is unknown; set {settings.section}.price to "
                "[input, output] in dollars per million tokens, or leave the budget out")
        return price

    def dollars(self, input_tokens: int, output_tokens: int, cached: int = 0) -> float | None:
        """US dollars for these tokens (`cached` of the input ones were read from a cache)."""
        if self.own:
            return (self.own[0] * input_tokens + self.own[1] * output_tokens) / 1e6
        from genai_prices import Usage, calc_price

        tokens = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached or None)
        for where in ({"provider_api_url": self.url}, {}) if self.url else ({},):
            try:
                return float(calc_price(tokens, model_ref=self.model, **where).total_price)
            except (LookupError, ValueError):
                continue
        return None

    def worst(self, body: dict[str, Any]) -> float:
        """The most that one request can cost: no tokenizer makes more tokens than bytes."""
        sent = sum(len(turn["content"].encode()) for turn in body["messages"]) + TEMPLATE_TOKENS
        written = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        return self.dollars(sent, written) or 0.0

    def reserve(self, key: str, body: dict[str, Any]) -> bool:
        """Set the worst case of a request aside; False where that could pass the budget."""
        worst = self.worst(body)
        if self.budget is not None and self.spent + sum(self.reserved.values()) + worst > self.budget:
            return False
        self.reserved[key] = worst
        return True

    def settle(self, key: str, dollars: float | None) -> None:
        """Put what a request did cost (0 where it failed) in the place of its worst case."""
        self.reserved.pop(key, None)
        self.spent += dollars or 0.0
