SELECT
    access_key,
    split_part(workload, '/', 1) AS application,
    split_part(workload, '/', 2) AS environment,
    split_part(workload, '/', 3) AS instance,
    workload,
    role,
    split_part(role, ':', 5) AS account,
    "from" AS fetched,
    "until" AS ends,
    agent AS host
FROM lease_files
