"""Chapter 5: does it answer better? Benchmarks, open questions, a judge, how sure one may be.

`benchmarks` has the tasks, `measure` asks them in several arms through lm-eval's model in
`harness`, and `asked` keeps what each model replied; `results` is the table of items that comes
out. `compare` has its paired differences, `subjects` those of MMLU's subjects, and `report` says
what they mean.

Likelihoods, which see smaller differences than right and wrong: `prefixes` says what stands before
an answer, `likelihood_measure` has each model score answers and `options` behind it by
`likelihood`, `contrasts` compares, with a gate for tasks that the untuned model cannot do, and
`likelihood_report` puts it into words.

Open questions: `open_ended` measures what needs no judge. Appendix A1: `judge` asks a model about
pairs of answers, `judge_exam` examines it first, `win_rates` counts its verdicts, and
`blind_sheet` is for people. Appendix A2: `robustness` probes with unusual questions. `gallery`
draws both.
"""

from .benchmarks import PREFIX, chance, data_note, load_tasks, overview, scored_tasks
from .compare import (
    arm_contrasts,
    differences,
    needed_sizes,
    role_contrasts,
    seed_differences,
)
from .contrasts import all_contrasts, all_sizes, gate, likelihood_contrasts, likelihood_sizes
from .harness import Arm, ArmsLM
from .likelihood_measure import load_choices, measure_seeds, referenced_questions
from .likelihood_report import likelihood_text
from .measure import (
    ask_benchmarks,
    measure_arms,
    measurement_plan,
    plain_arm,
    substituted_arms,
)
from .options import measure_options
from .prefixes import RoleSources, likelihood_plan
from .report import difference_table, report_text, summarize, vs_chance
from .results import (
    SUBSTITUTED,
    accuracy,
    accuracy_of_seed,
    check_items,
    disputed,
    read_items,
    readings,
    save_items,
    won_items,
)
from .subjects import subject_differences
