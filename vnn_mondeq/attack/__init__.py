"""Engine: search for counterexamples with exact implicit gradients."""

from vnn_mondeq.attack.margins import attack_margins as attack_margins
from vnn_mondeq.attack.margins import attack_set_margins as attack_set_margins
from vnn_mondeq.attack.pgd import ImplicitPgd as ImplicitPgd
from vnn_mondeq.attack.search import Schedule as Schedule
