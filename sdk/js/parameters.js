'use strict';
// Input -> path -> values, bounded. What is to be done at a path is worked out once for each operation and kept in a
// tree of places, so that a repeat call costs some look-ups. Values that are neither texts nor numbers nor booleans
// (buffers, streams, dates, instances of classes) are never looked at.

const { byName, byForm, isTold, isKnownMap } = require('./redact');

const MAX_OPERATIONS = 4096;
const MAX_PLACES = 512; // in one operation; a model has less, but where there is none, names are the program's
const MAX_PATHS = 64;
const MAX_PATH = 256;
const MAX_VALUES = 16;
const MAX_VALUE = 2048;
const MAX_DEPTH = 8;
const MAX_TOLD_STEPS = 2048;
const MAX_REDACTED_STEPS = 64; // markers say no more after that, and items of tables are large
const NAME = /^[A-Za-z][A-Za-z0-9_-]*$/;

/** One path of an operation, and what is done with its values. */
class Place {
  constructor(root, path, name, shape, depth) {
    this.root = root || this;
    this.path = path;
    this.name = name;
    this.shape = shape;
    this.depth = depth;
    this.id = root ? `\u0001${root.places++}:` : '';
    this.marker = path ? byName(this.root.service, path, Boolean(shape && shape.sensitive)) : null;
    this.told = path !== '' && isTold(path);
    this.below = new Map();
    this.walk = 0;
    this.values = null;
  }

  /** The place of a member, or of `[]` or `{}`; null where nothing is looked at. */
  next(step) {
    const known = this.below.get(step);
    return known !== undefined ? known : this.make(step);
  }

  make(step) {
    if (this.root.places >= MAX_PLACES) return null;
    const suffix = step === '[]' || step === '{}';
    const shape = this.shapeOf(step, suffix);
    const path = suffix ? this.path + step : this.path ? `${this.path}.${step}` : step;
    const usable = shape !== undefined && this.depth < MAX_DEPTH && path.length <= MAX_PATH && (suffix || NAME.test(step));
    const place = usable
      ? new Place(this.root, path, suffix ? this.name : step, shape, this.depth + (suffix ? 0 : 1))
      : null;
    if (place || this.below.size < MAX_PLACES) this.below.set(step, place);
    return place;
  }

  shapeOf(step, suffix) {
    if (!this.shape) return null;
    if (suffix) return this.shape.item ? this.shape.item() : null;
    return this.shape.member ? this.shape.member(step) : null;
  }
}

const operations = new Map();
// The state of the walk that goes on; there is one at a time, for nothing in it waits.
let walk = 0;
let places = [];
let key = '';
let toldSteps = 0;
let redactedSteps = 0;

/** The tree of an operation. `shape` is asked for once. */
function operationOf(service, operation, shape) {
  const id = `${service}\u0000${operation}`;
  let root = operations.get(id);
  if (root === undefined) {
    root = new Place(null, '', '', shape(), 0);
    root.service = service;
    root.places = 1;
    if (operations.size < MAX_OPERATIONS) operations.set(id, root);
  }
  return root;
}

/** Walks an input and answers the part of its key that says what is told of it. `told()` has the rest until the next. */
function keyOf(root, input) {
  walk += 1;
  places = [];
  key = '';
  toldSteps = 0;
  redactedSteps = 0;
  look(root, input);
  return key;
}

/** Path -> values of the input that was walked last. */
function told() {
  const parameters = {};
  for (const place of places) parameters[place.path] = place.values;
  return parameters;
}

function look(place, value) {
  if (place.marker !== null ? ++redactedSteps > MAX_REDACTED_STEPS : ++toldSteps > MAX_TOLD_STEPS) return;
  switch (typeof value) {
    case 'string': case 'number': case 'boolean': take(place, value); break;
    case 'object':
      if (value === null) break;
      if (Array.isArray(value)) lookAtItems(place, value);
      else if (isPlain(value)) lookAtMembers(place, value);
      break;
    default:
  }
}

function isPlain(value) {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null;
}

function lookAtItems(place, items) {
  const next = place.next('[]');
  if (next === null) return;
  for (let at = 0; at < items.length && at < MAX_TOLD_STEPS; at += 1) look(next, items[at]);
}

function lookAtMembers(place, value) {
  const isMap = place.shape ? place.shape.kind === 'map' : isKnownMap(place.name);
  if (isMap) return lookAtEntries(place, value);
  // Under a rule that takes everything out, and without a model, names may be the program's own: none is told.
  if (!place.shape && place.marker !== null) return take(place, '');
  for (const name in value) {
    const next = place.next(name);
    if (next !== null) look(next, value[name]);
  }
  return undefined;
}

function lookAtEntries(place, value) {
  const next = place.next('{}');
  if (next === null) return;
  for (const name in value) {
    take(next, name);
    const entry = value[name];
    if (typeof entry === 'object') look(next, entry);
  }
}

function take(place, value) {
  let text = place.marker;
  if (text === null) {
    if (!place.told) return;
    text = typeof value === 'string' ? value : String(value);
    if (text.length > MAX_VALUE || (text.length > MAX_VALUE / 3 && Buffer.byteLength(text) > MAX_VALUE)) return;
    text = byForm(text) || text;
    if (typeof value === 'number' && !Number.isFinite(value)) return;
  }
  if (place.walk !== walk) {
    if (places.length >= MAX_PATHS) return;
    place.walk = walk;
    place.values = [text];
    places.push(place);
  } else {
    if (place.values.length >= MAX_VALUES || place.values.includes(text)) return;
    place.values.push(text);
  }
  key += place.id + text.length + ':' + text;
}

module.exports = { operationOf, keyOf, told };
