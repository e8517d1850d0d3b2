"""Chapter 1: have a model write a role for every sample, through any OpenAI-compatible server.

`endpoint` finds or starts the server, `asking` and `forms` write the request and read the reply out of a
`completion`, `replies` keeps what was paid for and `price` counts it; a `job` joins them. `live`
asks many at once, `batch` uses the Batch API, `command` is `python -m selfprompt_lib annotate`.
"""

from ..llm_client.ask import ask_all, ask_what_is_missing, first_call
from ..llm_client.batch import ask_in_batches
from ..llm_client.endpoint import Endpoint, connect
from ..llm_client.price import Price
from ..llm_client.response_cache import ResponseCache
from .outcomes import failures, to_annotate, training_set, well_formed
from .role_prompt import RolePrompt, RoleReply, read_role, write_role
from .samples import annotate

LIMA_ROWS = 1030

__all__ = [
    "LIMA_ROWS", "Endpoint", "RolePrompt", "Price", "ResponseCache", "RoleReply", "annotate", "ask_all", "ask_in_batches",
    "ask_what_is_missing", "connect", "failures", "first_call", "read_role", "to_annotate", "training_set", 
    "well_formed", "write_role",
]
