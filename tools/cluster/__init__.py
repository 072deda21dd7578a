"""Training clusters: their plan as data, jobs as local processes, files for Kubernetes and Slurm."""
