"""Prints a Kubernetes JobSet or a Slurm script that runs a training cluster.

  python -m tools.cluster_manifests --scheduler=kubernetes --image=REGISTRY/fm_lingvo:1 --workers=4 --worker_gpus=8 \\
      -- --model=asr.BestRqPretrain --logdir=gs://bucket/run > jobset.yaml
  python -m tools.cluster_manifests --scheduler=slurm --workers=4 --worker_gpus=8 \\
      -- --model=asr.BestRqPretrain --logdir=/shared/run > run.sbatch

The arguments after -- are flags of the trainer. All jobs must see --logdir and the data under the same paths. Exit
code 2: wrong usage, with a one-line message.
"""

import sys

from .cluster import manifests
from .cluster import plan
from .common import command_line
from .common import exit_codes


def _Parser():
  parser = command_line.Parser('cluster_manifests', __doc__)
  parser.add_argument('--scheduler', required=True, help=f'one of {", ".join(manifests.SCHEDULERS)}')
  parser.add_argument('--name', default='fm-lingvo', help='name of the job and its pods (default: fm-lingvo)')
  parser.add_argument('--image', default='', help="container image with fm_lingvo's trainer; Kubernetes only")
  plan.AddFlags(parser)
  parser.add_argument('--cpus', type=int, default=8, help='cores per job (default: 8)')
  parser.add_argument('--memory', default='32Gi', help='memory per pod or node (default: 32Gi)')
  parser.add_argument(
    '--max_restarts',
    type=int,
    default=10,
    help='restarts of a pod and of the whole JobSet, or of the Slurm script (default: 10)',
  )
  return parser


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  args = _Parser().parse_args((argv or sys.argv)[1:])
  return exit_codes.Report('cluster_manifests', lambda: print(manifests.Manifest(args), end=''))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
