SELECT
    "at" AS since,
    split_part(workload, '/', 1) AS application,
    split_part(workload, '/', 2) AS environment,
    split_part(workload, '/', 3) AS instance,
    workload,
    language,
    sdk,
    sdk_version,
    shim_version,
    agent AS host
FROM shim_files
