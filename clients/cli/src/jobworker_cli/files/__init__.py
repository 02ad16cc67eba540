"""Copy files to a job and back: `run --upload` and `run --download`.

Archives of tar(1) travel through the stdin and the stdout of the job. A script in the job packs and unpacks
them, before and after the command of the user.
"""
