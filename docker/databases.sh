#!/bin/bash
# The first start of an empty database server: who may do what in it. Run by MySQL's image.
set -euo pipefail

for name in MLFLOW_DATABASE_PASSWORD STUDY_PASSWORD; do
    if [[ ! ${!name} =~ ^[A-Za-z0-9._~-]+$ ]]; then
        echo "$name becomes part of an address: use letters, digits and . _ ~ - only" >&2
        exit 1
    fi
done

MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql --user=root <<SQL
CREATE DATABASE mlflow;
CREATE DATABASE studies;
CREATE USER mlflow@'%' IDENTIFIED BY '$MLFLOW_DATABASE_PASSWORD';
CREATE USER harnest@'%' IDENTIFIED BY '$STUDY_PASSWORD';
GRANT ALL ON mlflow.* TO mlflow@'%';
GRANT ALL ON studies.* TO harnest@'%';
SQL
