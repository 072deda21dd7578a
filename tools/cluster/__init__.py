"""Training clusters: the plan of their jobs, local processes, and files for Kubernetes and Slurm."""
