"""optuna-dashboard on the studies of the stack; gunicorn serves `app`."""

import os

from optuna.storages import RDBStorage
from optuna_dashboard import wsgi

# The address holds a password: it comes from the environment, since others see a command's
# arguments. A connection is tried before it is used, as MySQL ends those that idle.
app = wsgi(RDBStorage(os.environ["STUDY_STORAGE"], {"pool_pre_ping": True}))
