'use strict';
// What the tests share: a listener that collects lines, a program that is run, and answers in AWS's stead.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

/** A folder of the test's own, which is gone after it. */
function folderOf(context) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'rolecall-'));
  context.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** An agent, at a path or at any port (0); `lines()` are those that came. */
function listen(socketPath, reads = true) {
  const texts = [];
  const streams = new Set();
  const server = net.createServer({ pauseOnConnect: !reads }, (stream) => {
    const at = texts.push('') - 1;
    streams.add(stream);
    stream.on('data', (data) => { texts[at] += data; });
    stream.on('error', () => {});
  });
  return new Promise((resolve) => server.listen(...(socketPath === 0 ? [0, '127.0.0.1'] : [socketPath]), () => resolve({
    port: server.address().port,
    read: () => { for (const stream of streams) stream.resume(); },
    lines: () => texts.flatMap((text) => text.split('\n').slice(0, -1)).map((text) => JSON.parse(text)),
    text: () => texts.join(''),
    close: () => new Promise((done) => {
      for (const stream of streams) stream.destroy();
      server.close(done);
    }),
  })));
}

/** Runs a program with the shim preloaded; its output, code and time. */
function run(program, env) {
  const began = Date.now();
  const child = spawn(process.execPath, [path.join(__dirname, program)], {
    env: { PATH: process.env.PATH, NODE_NO_WARNINGS: '1', NODE_OPTIONS: `--require "${path.join(__dirname, '../hook.js')}"`, AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE: '1', ...env },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (data) => { out += data; });
  child.stderr.on('data', (data) => { err += data; });
  return new Promise((resolve) => child.on('close', (code, signal) => setTimeout(() => resolve({ code, signal, out, err, time: Date.now() - began }), 50)));
}

const ANSWER = '<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>';
const DENIAL = '<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error><RequestId>R1</RequestId></ErrorResponse>';

/** STS, that answers or denies. */
function sts(context, status = 200) {
  const server = http.createServer((request, response) => {
    request.resume();
    response.writeHead(status, { 'content-type': 'text/xml', 'x-amzn-requestid': 'R1' });
    response.end(status === 200 ? ANSWER : DENIAL);
  });
  context.after(() => { server.closeAllConnections(); server.close(); });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}`)));
}

/** Calls that lines tell of, with those that were lost. */
function counted(lines) {
  let count = 0;
  for (const line of lines) {
    if (line.Type === 'ApiCall') count += line.Count || 1;
    for (const lost of Object.values(line.Lost || {})) count += lost;
  }
  return count;
}

module.exports = { folderOf, listen, run, sts, counted };
