'use strict';
// The real SDKs against moto, in programs that know nothing of the shim.
const assert = require('node:assert');
const { spawn } = require('node:child_process');
const net = require('node:net');
const path = require('node:path');
const test = require('node:test');
const { folderOf, listen, run, counted } = require('../programs/agent');

let endpoint;
let moto;
test.before(async () => {
  const server = process.env.ROLECALL_MOTO;
  assert.ok(server, 'ROLECALL_MOTO is not set: it is the path of moto_server, of the package moto[server]');
  const port = await new Promise((resolve) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const { port: free } = probe.address();
      probe.close(() => resolve(free));
    });
  });
  moto = spawn(server, ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore', env: { ...process.env, ROLECALL_CALLS: 'off' } });
  endpoint = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 600; tries += 1) {
    const up = await new Promise((resolve) => {
      const stream = net.connect(port, '127.0.0.1', () => { stream.destroy(); resolve(true); });
      stream.on('error', () => resolve(false));
    });
    if (up) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail('moto_server does not listen');
});
test.after(() => moto && new Promise((resolve) => { moto.on('exit', resolve); moto.kill(); }));

async function lines(context, program, more = {}) {
  const socket = path.join(folderOf(context), 'calls.sock');
  const agent = await listen(socket);
  context.after(() => agent.close());
  const done = await run(program, { ENDPOINT: endpoint, ROLECALL_CALLS_SOCKET: socket, ...more });
  assert.ok(done.out.endsWith('all done\n'), done.out + done.err);
  for (const secret of ['the-secret', 'the-session-token', 'the-body', 'the-value', 'the-message', 'X-Amz-Signature']) {
    assert.ok(!agent.text().includes(secret), secret);
  }
  return agent.lines();
}
const calls = (all, service, api) => all.filter((line) => line.Service === service && line.Api === api);

test('an ES module with SDK v3: S3, STS, DynamoDB, SQS, pages, an error, a presigned URL, process.exit', async (context) => {
  const all = await lines(context, 'calls.mjs');
  assert.strictEqual(all[0].Sdk, '@smithy/core');
  assert.strictEqual(all[all.length - 1].Type, 'Bye');
  // 1 + 1 + 20 + 1 + 1 + 1 of S3, 10 of STS, 2 of DynamoDB, 2 of SQS
  assert.strictEqual(counted(all), 39);
  const [first, rest] = calls(all, 'S3', 'GetObject').filter((line) => line.Type === 'ApiCall' && line.Parameters.Key[0] === 'a.csv');
  assert.deepStrictEqual([first.Count, rest.Count], [undefined, 19]);
  assert.deepStrictEqual(first.Parameters, { Bucket: ['reports'], Key: ['a.csv'] });
  assert.deepStrictEqual([first.Region, first.Fqdn, first.AccessKey, first.FinalHttpStatusCode], ['eu-central-1', '127.0.0.1', 'AKIAROLECALLTEST', 200]);
  const missing = calls(all, 'S3', 'GetObject').find((line) => line.FinalHttpStatusCode === 404);
  assert.strictEqual(missing.FinalAwsException, 'NoSuchKey');
  const presigned = all.find((line) => line.Type === 'Presign');
  assert.deepStrictEqual([presigned.Api, presigned.AccessKey, presigned.Parameters.Key], ['GetObject', 'AKIAROLECALLTEST', ['a.csv']]);
  assert.strictEqual(calls(all, 'S3', 'HeadObject').length, 1);
  assert.strictEqual(calls(all, 'S3', 'ListObjectsV2').length, 1);
  assert.deepStrictEqual(calls(all, 'DynamoDB', 'PutItem')[0].Parameters.TableName, ['orders']);
  assert.ok(calls(all, 'SQS', 'SendMessage')[0].Parameters.QueueUrl[0].endsWith('/jobs'));
});

test('CommonJS with SDK v2 and v3 in one process', async (context) => {
  const all = await lines(context, 'calls.cjs');
  assert.strictEqual(counted(all), 3 + 1 + 1 + 5 + 1);
  const got = calls(all, 'S3', 'GetObject');
  assert.deepStrictEqual([got[0].Parameters, got[0].AccessKey, got[0].Region, got[0].Fqdn, got[0].FinalHttpStatusCode],
    [{ Bucket: ['old-reports'], Key: ['a.csv'] }, 'AKIAROLECALLTEST', 'eu-central-1', '127.0.0.1', 200]);
  assert.strictEqual(got.find((line) => line.FinalHttpStatusCode === 404).FinalAwsException, 'NoSuchKey');
  assert.strictEqual(calls(all, 'STS', 'GetCallerIdentity').reduce((sum, line) => sum + (line.Count || 1), 0), 3);
});
