'use strict';
// What the SDK's own model says of an input. Both generations are brought to one form:
// { kind: 'struct' | 'list' | 'map' | 'leaf', sensitive, member(name), item }.
// Where there is no model, or one that is not understood, the answer is null, and names alone decide.

const SENSITIVE_BIT = 8;
const LIST = 1;
const MAP = 2;
const LIST_OF_SIMPLE = 64;
const MAP_OF_SIMPLE = 128;
const LEAF = { kind: 'leaf', sensitive: false };

const isSensitive = (traits) =>
  typeof traits === 'number' ? (traits & SENSITIVE_BIT) !== 0 : Boolean(traits && traits.sensitive);

/** The shape of a schema of @smithy/core: numbers for simple ones, arrays for the rest, functions for later ones. */
function ofSchema(schema, sensitive = false) {
  while (typeof schema === 'function') schema = schema();
  if (typeof schema === 'number') return ofNumber(schema, sensitive);
  if (!Array.isArray(schema)) return null;
  if (typeof schema[0] !== 'number') return ofSchema(schema[0], sensitive || isSensitive(schema[1]));
  if (schema.length === 2) return ofSchema(schema[0], sensitive || isSensitive(schema[1]));
  const secret = sensitive || isSensitive(schema[3]);
  switch (schema[0]) {
    case 0: return ofSchema(schema[4], secret);
    case LIST: return { kind: 'list', sensitive: secret, item: () => ofSchema(schema[4], secret) };
    case MAP: return ofMap(schema, secret);
    case 3: case 4: case -3: return ofStruct(schema, secret);
    default: return null;
  }
}

function ofNumber(number, sensitive) {
  const simple = { kind: 'leaf', sensitive };
  if (number >= MAP_OF_SIMPLE) return { kind: 'map', sensitive, item: () => simple };
  if (number >= LIST_OF_SIMPLE) return { kind: 'list', sensitive, item: () => simple };
  return sensitive ? simple : LEAF;
}

function ofMap(schema, secret) {
  const key = ofSchema(schema[4], secret);
  return { kind: 'map', sensitive: secret || Boolean(key && key.sensitive), item: () => ofSchema(schema[5], secret) };
}

function ofStruct(schema, secret) {
  const names = schema[4];
  const types = schema[5];
  return {
    kind: 'struct',
    sensitive: secret,
    member(name) {
      const at = names.indexOf(name);
      return at < 0 ? undefined : ofSchema(types[at], secret);
    },
  };
}

/** The shape of the input of an operation's schema, or null. */
function ofOperation(schema) {
  return Array.isArray(schema) && schema[0] === 9 ? ofSchema(schema[4]) : null;
}

/** The shape of a shape of SDK v2. */
function ofVersion2(shape, sensitive = false) {
  if (!shape) return null;
  const secret = sensitive || Boolean(shape.isSensitive || shape.sensitive);
  switch (shape.type) {
    case 'structure': return {
      kind: 'struct',
      sensitive: secret,
      member: (name) =>
        Object.prototype.hasOwnProperty.call(shape.members, name) ? ofVersion2(shape.members[name], secret) : undefined,
    };
    case 'list': return { kind: 'list', sensitive: secret, item: () => ofVersion2(shape.member, secret) };
    case 'map': return { kind: 'map', sensitive: secret, item: () => ofVersion2(shape.value, secret) };
    default: return { kind: 'leaf', sensitive: secret };
  }
}

module.exports = { ofOperation, ofSchema, ofVersion2 };
