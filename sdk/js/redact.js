'use strict';
// What of a value may be told: the rules of rules.json, in the order in which conformance/calls/README.md reads them.

const rules = require('./rules.json');

const LETTERS = /[^a-z0-9]/g;
const bare = (text) => text.toLowerCase().replace(LETTERS, '');

const REDACT = rules.redact.map((rule) => ({
  service: bare(rule.service),
  marker: `<redacted ${rule.kind}>`,
  fits: rule.names.map(pattern),
}));
const KEEP = new Set(rules.keep.names.map((name) => name.toLowerCase()));
const ENDINGS = rules.keep.endings.map((ending) => ending.toLowerCase());
const KEYS_OF = new Set(rules.keep.keysOf.map((name) => name.toLowerCase()));

/** A test for one name of a rule: in any case, `*` at either end for anything. */
function pattern(name) {
  const low = name.toLowerCase();
  if (low.startsWith('*')) return (member) => member.endsWith(low.slice(1));
  if (low.endsWith('*')) return (member) => member.startsWith(low.slice(0, -1));
  return (member) => member === low;
}

const members = (path) => path.toLowerCase().split('.').map((part) => part.replace(/[[\]{}]+$/, ''));

/** The marker for all values at a path, or null: rules 1 and 2. */
function byName(service, path, sensitive) {
  const called = bare(service);
  const names = members(path);
  for (const rule of REDACT) {
    if (rule.service !== '' && rule.service !== called) continue;
    if (rule.fits.some((fits) => names.some(fits))) return rule.marker;
  }
  return sensitive ? '<redacted secret>' : null;
}

// One cheap look that nearly all values fail to pass; only then the exact ones.
const SUSPECT = /X-Amz-S|x-amz-s|&Signature=|-----BEGIN|^(?:FQoG|FwoG|IQoJ|ey)/;
const SIGNED = /X-Amz-Signature=|X-Amz-Security-Token=|x-amz-security-token=|&Signature=/;
const SESSION_TOKEN = /^(?:FQoG|FwoG|IQoJ)[A-Za-z0-9+/=_%-]{96,}$/;
const WEB_TOKEN = /^ey[A-Za-z0-9+/=_%-]*\.ey[A-Za-z0-9+/=_%-]*\.[A-Za-z0-9+/=_%-]*$/;

/** The marker for a value that has the form of a secret, or null: rule 3. */
function byForm(value) {
  if (!SUSPECT.test(value)) return null;
  if (SIGNED.test(value)) return '<redacted signed-url>';
  if (value.includes('-----BEGIN') && value.includes('PRIVATE KEY-----')) return '<redacted private-key>';
  if (SESSION_TOKEN.test(value)) return '<redacted session-token>';
  return WEB_TOKEN.test(value) ? '<redacted token>' : null;
}

/** Whether values at a path may be told as they are: rule 4. */
function isTold(path) {
  const last = members(path).pop();
  if (path.endsWith('{}')) return KEYS_OF.has(last);
  return KEEP.has(last) || ENDINGS.some((ending) => last.endsWith(ending));
}

/** Whether a member is known to be a map whose keys are told, where no model says so. */
const isKnownMap = (name) => KEYS_OF.has(name.toLowerCase());

module.exports = { byName, byForm, isTold, isKnownMap };
