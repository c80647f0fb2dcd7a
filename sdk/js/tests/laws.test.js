'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const test = require('node:test');
const { folderOf, listen, run, sts, counted } = require('../programs/agent');
const { Shim } = require('../shim');

async function scene(context, status, reads) {
  const socket = path.join(folderOf(context), 'calls.sock');
  const agent = await listen(socket, reads);
  context.after(() => agent.close());
  return { agent, socket, env: { ENDPOINT: await sts(context, status), ROLECALL_CALLS_SOCKET: socket, ROLECALL_CALLS_FLUSH_MS: '100' } };
}
const account = (times) => '123456789012\n'.repeat(times);

test('every call is told of, and Bye comes last', async (context) => {
  const { agent, env } = await scene(context);
  const done = await run('repeat.cjs', { ...env, TIMES: '50' });
  assert.strictEqual(done.out, account(50), done.err);
  const lines = agent.lines();
  assert.strictEqual(lines[0].Type, 'Hello');
  assert.deepStrictEqual(lines[lines.length - 1], { Version: 2, Type: 'Bye', Lost: {} });
  assert.strictEqual(counted(lines), 50);
});

test('a first denial is on the socket before the program knows of it', async (context) => {
  const { agent, env } = await scene(context, 403);
  const done = await run('repeat.cjs', { ...env, STOP_AFTER_CALL: '1' });
  assert.strictEqual(done.signal, 'SIGKILL');
  const call = agent.lines().find((line) => line.Type === 'ApiCall');
  assert.strictEqual(call.FinalHttpStatusCode, 403);
  assert.strictEqual(call.FinalAwsException, 'AccessDenied');
  assert.strictEqual(call.AccessKey, 'AKIAROLECALLTEST');
  assert.strictEqual(call.Region, 'eu-central-1');
  assert.strictEqual(call.Fqdn, '127.0.0.1');
  assert.strictEqual(call.XAmznRequestId, 'R1');
});

test('where nobody listens the program goes on and ends', async (context) => {
  const { env } = await scene(context);
  const done = await run('repeat.cjs', { ...env, ROLECALL_CALLS_SOCKET: `${env.ROLECALL_CALLS_SOCKET}.none`, TIMES: '20' });
  assert.deepStrictEqual([done.out, done.err, done.code], [account(20), '', 0]);
  assert.ok(done.time < 5000);
});

test('a listener that never reads holds nothing up', async (context) => {
  const { env } = await scene(context, 200, false);
  const done = await run('repeat.cjs', { ...env, TIMES: '20' });
  assert.deepStrictEqual([done.out, done.err, done.code], [account(20), '', 0]);
  assert.ok(done.time < 5000);
});

test('a listener that dies and comes back gets what was counted meanwhile', async (context) => {
  const { agent, socket, env } = await scene(context);
  const running = run('repeat.cjs', { ...env, TIMES: '20', WAIT: '150' });
  await new Promise((resolve) => setTimeout(resolve, 1200));
  await agent.close();
  await new Promise((resolve) => setTimeout(resolve, 600));
  const another = await listen(socket);
  context.after(() => another.close());
  const done = await running;
  assert.strictEqual(done.out, account(20), done.err);
  assert.ok(agent.lines().length > 1);
  assert.strictEqual(another.lines()[0].Type, 'Hello');
  // One line may have been in the socket of the listener that died.
  const told = counted(agent.lines()) + counted(another.lines());
  assert.ok(told >= 17 && told <= 20, String(told));
});

test('calls.off stops it', async (context) => {
  const { agent, socket, env } = await scene(context);
  fs.writeFileSync(path.join(path.dirname(socket), 'calls.off'), '');
  const done = await run('repeat.cjs', { ...env, TIMES: '5' });
  assert.strictEqual(done.out, account(5));
  assert.strictEqual(agent.text(), '');
});

test('ROLECALL_CALLS=off does nothing at all', async (context) => {
  const { agent, env } = await scene(context);
  const done = await run('repeat.cjs', { ...env, ROLECALL_CALLS: 'off', TIMES: '5' });
  assert.strictEqual(done.out, account(5));
  assert.strictEqual(agent.text(), '');
});

const PARTS = ['call ofCommand', 'call takeRequest', 'call takeAnswer', 'shim wanted Shim', 'shim record Shim', 'shim recordNew Shim',
  'shim start Shim', 'shim turn Shim', 'shim flush Shim', 'shim end Shim', 'shim sayGoodbye Shim', 'fold add Fold', 'fold tell Fold', 'fold keep Fold', 'fold settle Fold',
  'sender offer Sender', 'sender connect Sender', 'sender push Sender', 'sender ready Sender', 'line callLine', 'shim lookForOffFile Shim', 'shim mistake Shim', 'line hello'];
for (const part of PARTS) test(`the SDK's answer is given when this fails: ${part}`, async (context) => {
  const { env } = await scene(context);
  const done = await run('repeat.cjs', { ...env, SABOTAGE: part, TIMES: '15', WAIT: '10' });
  assert.deepStrictEqual([done.out, done.err, done.code], [account(15), '', 0]);
});

test('an address that fails and a sender that cannot even note it do no harm', async (context) => {
  const { env } = await scene(context);
  const none = `${env.ROLECALL_CALLS_SOCKET}.none`;
  const done = await run('repeat.cjs', { ...env, ROLECALL_CALLS_SOCKET: none, SABOTAGE: 'sender lose Sender', TIMES: '5', WAIT: '50' });
  assert.deepStrictEqual([done.out, done.err, done.code], [account(5), '', 0]);
});

test('after ten mistakes it is off, and every call is counted as lost', async (context) => {
  const { agent, env } = await scene(context);
  await run('repeat.cjs', { ...env, SABOTAGE: 'fold tell Fold', TIMES: '30' });
  const lines = agent.lines();
  assert.deepStrictEqual(lines[lines.length - 1].Type, 'Bye');
  assert.strictEqual(counted(lines), 30);
});

/** A shim whose sender is a list. */
function shimWith(takes) {
  const shim = new Shim({ ROLECALL_CALLS_SOCKET: '/nowhere/calls.sock' });
  const sent = [];
  shim.sender = { unsent: '', ready: () => true, offer: (line) => takes() && sent.push(JSON.parse(line)) > 0 };
  return { shim, sent };
}
const made = (at) => ({ type: 'ApiCall', service: 'S3', api: 'GetObject', input: String(at), parameters: { Key: [String(at)] }, began: 1, start: 0, latency: 1, host: 'h', accessKey: 'A', region: 'r', status: 200, code: '', exception: '', requestId: '', idMember: 'XAmzRequestId' });

for (const [name, socket] of [['takes all', () => true], ['takes nothing', () => false], ['takes now and then', (() => { let at = 0; return () => (at += 1) % 7 === 0; })()]]) {
  test(`of 100,000 different calls none is forgotten when the socket ${name}`, () => {
    let free = socket;
    const { shim, sent } = shimWith(() => free());
    for (let at = 0; at < 100000; at += 1) {
      shim.record(made(at));
      if (at % 3 === 0) shim.record(made(at));
      if (at % 1000 === 0) shim.flush();
      assert.ok(shim.fold.table.size <= 4096);
    }
    free = () => true;
    shim.flush();
    assert.strictEqual(counted(sent), 133334);
    assert.strictEqual(shim.mistakes, 0);
  });
}

test('an input that throws when it is read does not reach the program, and is counted', async (context) => {
  const { agent, env } = await scene(context);
  const done = await run('hostile.cjs', env);
  assert.deepStrictEqual([done.out, done.code], [account(1), 0], done.err);
  assert.deepStrictEqual(agent.lines().pop().Lost, { error: 1 });
});

test('a line that is too long goes without its parameters, and bytes are counted', () => {
  const { shim, sent } = shimWith(() => true);
  shim.record({ ...made(1), parameters: { Key: Array.from({ length: 8 }, (_, at) => `${at}${'é'.repeat(1000)}`) } });
  assert.strictEqual(sent[0].Parameters, undefined);
  assert.strictEqual(sent[0].Api, 'GetObject');
});

test('a real socket that is full takes no more, at once, and the lines that went are whole', async (context) => {
  const socket = path.join(folderOf(context), 'calls.sock');
  const agent = await listen(socket, false);
  context.after(() => agent.close());
  const { Sender } = require('../sender');
  const sender = new Sender({ path: socket }, () => Buffer.from('{"Type":"Hello"}\n'));
  context.after(() => sender.socket && sender.socket.destroy());
  const line = Buffer.from(`{"Type":"ApiCall","Filler":"${'x'.repeat(5000)}"}\n`);
  const began = Date.now();
  let taken = 0;
  while (sender.offer(line)) taken += 1;
  for (let at = 0; at < 1000; at += 1) assert.strictEqual(sender.offer(line), false);
  assert.ok(taken > 10 && taken < 1000, String(taken));
  assert.ok(Date.now() - began < 2000);
  for (let tries = 0; tries < 40; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    agent.read();
    sender.ready();
  }
  assert.strictEqual(agent.lines().filter((told) => told.Type === 'ApiCall' && told.Filler.length === 5000).length, taken);
});

test('over TCP the counts are told too', async (context) => {
  const { env } = await scene(context);
  const agent = await listen(0);
  context.after(() => agent.close());
  const done = await run('repeat.cjs', { ...env, ROLECALL_CALLS_SOCKET: `tcp://127.0.0.1:${agent.port}`, TIMES: '10' });
  assert.strictEqual(done.out, account(10), done.err);
  assert.strictEqual(counted(agent.lines()), 10);
  assert.strictEqual(agent.lines().pop().Type, 'Bye');
});

test('a worker has a shim of its own', async (context) => {
  const { agent, env } = await scene(context);
  const done = await run('worker.cjs', env);
  assert.strictEqual(done.out, account(3), done.err);
  assert.strictEqual(counted(agent.lines()), 3);
});

test('half of a surrogate pair becomes a question mark, and what only reads like one stays', () => {
  const { shim, sent } = shimWith(() => true);
  shim.record({ ...made(1), parameters: { Key: ['a\ud800\udbffb', '\\ud800', '\\\ud800', '\u{1f600}'] } });
  assert.deepStrictEqual(sent[0].Parameters.Key, ['a??b', '\\ud800', '\\?', '\u{1f600}']);
});
