'use strict';
// An event -> one line of JSON, within 8,192 bytes.

const LIMIT = 8192;
// Bounds of the members, in bytes.
const NAME = 128;
const HOST = 255;
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

// As JSON writes half of a surrogate pair; a backslash before it makes it plain text.
const HALF = /(?<=(?:^|[^\\])(?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/g;

/** The line with its line feed, or null if it is too long. Half of a surrogate pair becomes a question mark. */
function line(members) {
  let text = JSON.stringify(members);
  if (text.includes('\\ud')) text = text.replace(HALF, '?');
  const data = Buffer.from(`${text}\n`);
  return data.length <= LIMIT + 1 ? data : null;
}

/** The line of an entry of the table: with its parameters, without them if that is too long, or null. */
function callLine(entry) {
  const members = callMembers(entry);
  const whole = line(members);
  if (whole !== null) return whole;
  delete members.Parameters;
  return line(members);
}

function callMembers(entry) {
  const { call } = entry;
  const members = { Version: 2, Type: call.type, Service: cut(call.service, NAME), Api: cut(call.api, NAME) };
  put(members, 'Region', call.region, NAME);
  members.Timestamp = entry.first;
  if (entry.count > 1) {
    members.Last = entry.last;
    members.Count = entry.count;
  }
  members.Latency = entry.latency;
  put(members, 'Fqdn', call.host, HOST);
  put(members, 'AccessKey', call.accessKey, NAME);
  if (call.status >= 100 && call.status <= 599 && call.type !== 'Presign') members.FinalHttpStatusCode = call.status;
  put(members, 'FinalAwsException', call.code, NAME);
  put(members, 'FinalSdkException', call.exception, NAME);
  put(members, call.idMember, entry.requestId, NAME);
  members.Parameters = call.parameters;
  return members;
}

function put(members, name, value, limit) {
  if (typeof value === 'string' && value !== '') members[name] = cut(value, limit);
}

/** The text's beginning that fits, without control characters, which the agent refuses. */
function cut(text, limit) {
  const clean = text.replace(CONTROL, '');
  if (clean.length * 3 <= limit) return clean;
  const bytes = Buffer.from(clean);
  if (bytes.length <= limit) return clean;
  let at = limit;
  while (at > 0 && (bytes[at] & 0xc0) === 0x80) at -= 1; // never within a character
  return bytes.toString('utf8', 0, at);
}

/** Who is speaking. */
function hello(sdk, sdkVersion, shim) {
  return line({
    Version: 2, Type: 'Hello', Language: 'javascript', Sdk: sdk, SdkVersion: cut(sdkVersion, 64) || 'unknown',
    Shim: shim, Pid: process.pid,
  });
}

/** `Losses` or `Bye`: reason -> count. */
const losses = (type, lost) => line({ Version: 2, Type: type, Lost: lost });

module.exports = { callLine, hello, losses };
