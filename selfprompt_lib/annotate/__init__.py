"""Chapter 1: have a model write a role for every sample, through any OpenAI-compatible server.

`prompt` says what is asked for a role and reads the reply; `outcomes` annotates the samples of a
profile and chooses those to train on; `command` is `python -m selfprompt_lib annotate`. The
client, the cache of replies and the budget are in `selfprompt_lib.llm_client`.
"""

from ..llm_client.endpoint import connect
from ..llm_client.limits import Price
from .outcomes import (
    LIMA_ROWS,
    annotate,
    failures,
    lima_cost,
    metrics,
    report_text,
    samples_to_annotate,
    training_set,
    well_formed,
)
from .prompt import RolePrompt, read_role, write_role
from .strategy_prompt import StrategyPrompt, annotation_prompt
