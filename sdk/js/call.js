'use strict';
// What one call was: the things that make two calls equal, and what is told beside them.

const { ofOperation, ofVersion2 } = require('./shape');
const { operationOf, keyOf, told } = require('./parameters');

const { performance } = require('perf_hooks');
const wallClock = Date.now;
const now = performance.now.bind(performance);
const NO_ANSWER = {};
// More would not fit into a line, and 4,096 calls are kept.
const MAX_INPUT = 8192;

/** A call that begins now. Its input is read here, as the program may change it while the call goes on. */
function begin(type, service, api, shape, input) {
  const key = keyOf(operationOf(service, api, shape), input);
  const fits = key.length <= MAX_INPUT;
  return {
    type, service, api, input: fits ? key : '\u0001long', parameters: fits ? told() : {}, began: wallClock(), start: now(), latency: 0,
    host: '', accessKey: '', region: '', status: 0, code: '', exception: '', requestId: '', idMember: 'XAmznRequestId',
  };
}

/** A call of SDK v3. Newer commands have the operation's name in their schema; of older ones the class is named so. */
function ofCommand(client, command, type = 'ApiCall') {
  const schema = command.schema;
  const named = Array.isArray(schema) && typeof schema[2] === 'string' ? schema[2] : '';
  const api = named || command.constructor.name.replace(/Command$/, '');
  return begin(type, client.config.serviceId, api, () => ofOperation(schema), command.input);
}

/** A call of SDK v2 that is over. */
function ofRequest(response) {
  const { request, httpResponse, error } = response;
  const { api } = request.service;
  const model = api.operations[request.operation];
  const name = (model && model.name) || request.operation[0].toUpperCase() + request.operation.slice(1);
  const call = begin('ApiCall', api.serviceId, name, () => ofVersion2(model && model.input), request.params);
  const { httpRequest } = request;
  takeRequest(call, httpRequest.endpoint && httpRequest.endpoint.hostname, httpRequest.headers);
  takeStart(call, request.startTime);
  takeAnswer(call, { httpStatusCode: httpResponse && httpResponse.statusCode, requestId: response.requestId });
  if (error) takeCode(call, error.code || error.name, call.status !== 0);
  return call;
}

/** When a call began that is over already. */
function takeStart(call, time) {
  if (!(time instanceof Date)) return;
  call.latency = Math.max(0, call.began - time.getTime());
  call.began = time.getTime();
  call.start = 0;
}

/** Host, access key and region of a request that is signed; of the session token and the signature nothing is read. */
function takeRequest(call, hostname, headers) {
  if (typeof hostname === 'string') call.host = hostname;
  const authorization = headers && (headers.authorization || headers.Authorization);
  if (typeof authorization === 'string') takeCredential(call, /Credential=([^,\s]+)/.exec(authorization));
}

function takeCredential(call, found) {
  if (!found) return;
  const parts = found[1].split('/');
  call.accessKey = parts[0];
  // The scope of sigv4a has no region.
  if (parts.length === 5) call.region = parts[2];
}

/** What came back: the `$metadata` of an answer or of an error. */
function takeAnswer(call, metadata) {
  const { httpStatusCode, requestId } = metadata || NO_ANSWER;
  if (Number.isInteger(httpStatusCode)) call.status = httpStatusCode;
  if (typeof requestId === 'string') call.requestId = requestId;
  if (call.service === 'S3') call.idMember = 'XAmzRequestId';
}

/** How SDK v3 failed. */
function takeError(call, error) {
  if (error === null || typeof error !== 'object') return takeCode(call, 'Error', false);
  takeAnswer(call, error.$metadata);
  return takeCode(call, error.name, Boolean(error.$fault) || call.status !== 0);
}

function takeCode(call, name, ofService) {
  let code = typeof name === 'string' && name !== '' ? name : 'Error';
  // An answer without a body has no code; the SDK makes one up.
  if (ofService && call.status && (code === 'Unknown' || code === 'UnknownError')) code = String(call.status);
  if (ofService) call.code = code;
  else call.exception = code;
}

/** The call is over. */
function end(call) {
  if (call.start) call.latency = Math.max(0, Math.round(now() - call.start));
}

/** All that makes calls equal, as one text. */
function identity(call) {
  return `${call.type}\0${call.service}\0${call.api}\0${call.region}\0${call.host}\0${call.accessKey}\0${call.status}\0${call.code}\0${call.exception}\0${call.input}`;
}

module.exports = { ofCommand, ofRequest, takeRequest, takeCredential, takeAnswer, takeError, end, identity };
