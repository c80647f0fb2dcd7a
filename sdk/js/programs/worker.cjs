// Three calls in a worker, which has a shim of its own, and none outside.
const { Worker } = require('node:worker_threads');

new Worker(require.resolve('./repeat.cjs'), { env: { ...process.env, TIMES: '3' } });
