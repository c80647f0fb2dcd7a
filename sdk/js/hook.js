'use strict';
// Patches the SDKs as they are loaded: `node --require @rolecall/shim`. Everything of ours is caught here; the program
// gets its SDK's answer, its SDK's error, and nothing else.

const fs = require('fs');
const Module = require('module');
const path = require('path');

const OURS = Symbol('rolecall');
const patched = new WeakSet();
const clients = new WeakSet();
// The call whose `send` runs now. Our middleware, the first of the stack, takes it over before anything waits.
let current = null;
let shim = null;
let calls = null;

/** Runs a part of ours. What it throws is a mistake of ours; `lostCall` says whether a call goes untold with it. */
function guarded(lostCall, part) {
  try {
    return part();
  } catch (error) {
    try {
      shim.mistake(lostCall);
    } catch (another) {
      // Not even that.
    }
    return null;
  }
}

/** Notes a call that is over. */
function finish(call, take) {
  guarded(true, () => {
    take(call);
    shim.record(call);
  });
}

/** `Client.prototype.send` of SDK v3, once for each copy. */
function patchClient(prototype) {
  if (patched.has(prototype)) return;
  patched.add(prototype);
  const original = prototype.send;
  prototype.send = function send(command, optionsOrCallback, callback) {
    const call = guarded(true, () => beginCall(this, command));
    if (call === null) return original.apply(this, arguments);
    const given = typeof optionsOrCallback === 'function' ? optionsOrCallback : callback;
    try {
      current = call;
      if (typeof given === 'function') return original.apply(this, withCallback(arguments, given, call));
      return told(original.apply(this, arguments), call);
    } catch (error) {
      finish(call, () => calls.takeError(call, error));
      throw error;
    } finally {
      current = null;
    }
  };
}

function beginCall(client, command) {
  if (!shim.wanted()) return null;
  const call = calls.ofCommand(client, command);
  // Without it only host, key and region are missing.
  guarded(false, () => addMiddleware(client));
  return call;
}

/** The promise that the program gets: ours is done before the program's next step. */
function told(promise, call) {
  if (!promise || typeof promise.then !== 'function') return promise;
  return promise.then(
    (output) => {
      finish(call, () => calls.takeAnswer(call, output && output.$metadata));
      return output;
    },
    (error) => {
      finish(call, () => calls.takeError(call, error));
      throw error;
    },
  );
}

function withCallback(given, callback, call) {
  const list = Array.from(given);
  list[list.indexOf(callback)] = function done(error, output) {
    finish(call, () => (error ? calls.takeError(call, error) : calls.takeAnswer(call, output && output.$metadata)));
    return callback.apply(this, arguments);
  };
  return list;
}

/** Once for each client. One takes over whose call it is, at the beginning; one reads the request when it is signed. */
function addMiddleware(client) {
  if (clients.has(client)) return;
  clients.add(client);
  client.middlewareStack.add(takeOver, { step: 'initialize', priority: 'high', name: 'rolecallCall', override: true });
  client.middlewareStack.add(readRequest, { step: 'deserialize', priority: 'low', name: 'rolecallRequest', override: true });
}

const takeOver = (next) => (args) => {
  const call = current;
  current = null;
  return next(call === null ? args : { ...args, [OURS]: call });
};

const readRequest = (next) => (args) => {
  const call = args[OURS];
  const { request } = args;
  if (call && request) guarded(false, () => calls.takeRequest(call, request.hostname, request.headers));
  return next(args);
};

/** `getSignedUrl` of `@aws-sdk/s3-request-presigner`. */
function patchPresigner(exports) {
  const original = exports.getSignedUrl;
  if (patched.has(original)) return;
  const replacement = async function getSignedUrl(client, command, ...rest) {
    const call = guarded(true, () => (shim.wanted() ? calls.ofCommand(client, command, 'Presign') : null));
    const url = await original.call(this, client, command, ...rest);
    if (call !== null) finish(call, () => takeUrl(call, url));
    return url;
  };
  patched.add(replacement);
  exports.getSignedUrl = replacement;
}

function takeUrl(call, url) {
  const { hostname, searchParams } = new URL(url);
  const credential = searchParams.get('X-Amz-Credential');
  calls.takeRequest(call, hostname, null);
  calls.takeCredential(call, credential ? [credential, credential] : null);
}

/** The events of SDK v2, which all its requests share. */
function patchVersion2(AWS) {
  if (patched.has(AWS.events)) return;
  patched.add(AWS.events);
  AWS.events.on('complete', (response) => {
    guarded(true, () => {
      const { request } = response;
      if ((request.isPresigned && request.isPresigned()) || !shim.wanted()) return;
      shim.record(calls.ofRequest(response));
    });
  });
}

/** Looks at what was loaded under a name that reads like an SDK's. */
function look(request, exports, parent) {
  if (exports === null || typeof exports !== 'object' && typeof exports !== 'function') return;
  if (request.includes('smithy')) {
    const { Client } = exports;
    if (typeof Client === 'function' && typeof Client.prototype.send === 'function' && !patched.has(Client.prototype)) {
      patchClient(Client.prototype);
      name(request, parent);
    }
  } else if (request.includes('s3-request-presigner')) {
    if (typeof exports.getSignedUrl === 'function') patchPresigner(exports);
  } else if (!request.includes('@aws-sdk')) lookForVersion2(request, parent);
}

/** `aws-sdk` and its parts, such as `aws-sdk/clients/s3`, have one core. */
function lookForVersion2(request, parent) {
  const file = Module._resolveFilename(request, parent, false);
  const end = file.lastIndexOf(`${path.sep}aws-sdk${path.sep}`);
  const core = end < 0 ? undefined : Module._cache[path.join(file.slice(0, end), 'aws-sdk', 'lib', 'core.js')];
  if (core && core.exports.events && !patched.has(core.exports.events)) {
    patchVersion2(core.exports);
    name(request, parent);
  }
}

/** Remembers the package and its version, for `Hello`. */
function name(request, parent) {
  let folder = path.dirname(Module._resolveFilename(request, parent, false));
  while (folder !== path.dirname(folder)) {
    const file = path.join(folder, 'package.json');
    if (fs.existsSync(file)) {
      const { name: called, version } = JSON.parse(fs.readFileSync(file, 'utf8'));
      if (called && version) {
        shim.sdk = [String(called).slice(0, 64), String(version)];
        return;
      }
    }
    folder = path.dirname(folder);
  }
}

function install() {
  const { Shim } = require('./shim');
  calls = require('./call');
  shim = new Shim();
  if (shim.off) return;
  const load = Module._load;
  Module._load = function _load(request, parent) {
    const exports = load.apply(this, arguments);
    if (typeof request === 'string' && (request.includes('smithy') || request.includes('aws-sdk'))) {
      guarded(false, () => look(request, exports, parent));
    }
    return exports;
  };
}

if (process.env.ROLECALL_CALLS !== 'off') {
  try {
    install();
  } catch (error) {
    // The program starts as it would without us.
  }
}

/** For tests: the shim of this process, or null. */
module.exports = { get shim() { return shim; } };
