/** What stands in the place of what was taken out. */
export const REDACTED = '<redacted>';

/**
 * Names of things whose values are secrets, also as a part of a longer name: `DB_PASSWORD`, `x-api-key`. Short ones only where they are a
 * word: `author` is nobody's secret.
 */
const names = [
  'password|passwd|passphrase|passcode|secret|token|credential|cookie|signature|connection[-_.]?string|session[-_.]?id|x-amz-[a-z-]{1,40}',
  '(?:api|access|private|signing|encryption|account|master|shared)[-_.]?key',
  '(?<![a-z])(?:pass|pwd|auth|jwt|sas|dsn|pin|otp)(?![a-z])',
].join('|');

/** The end of a name from its telling part on; bounded, since the search in a long line without blanks would take its square. */
const named = `(?:${names})[\\w.-]{0,32}`;

/** A value in quotes, in escaped quotes (JSON in JSON), or to the next blank or separator. */
const value = String.raw`\\"(?:(?!\\").)*(?:\\"|$)|"(?:[^"\\]|\\.)*(?:"|$)|'[^']*(?:'|$)|[^\s,;&"'{}\[\]\\]+`;

interface Pattern {
  readonly find: RegExp;
  readonly put: string | ((...groups: readonly string[]) => string);
}

/** In this order: what is to go as a whole comes before its parts. */
const patterns: readonly Pattern[] = [
  // a private key in PEM, also without its end, and with \n written out
  { find: /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|$)/gu, put: REDACTED },
  // Cookie and Authorization with all that they say, to the end of the line or of the string
  {
    find: /((?:set-)?cookie|(?:proxy-)?authorization)(\\?["']?\s*[:=]\s*(?:\[\s*)?\\?["']?)[^\n"'\\]+/giu,
    put: `$1$2${REDACTED}`,
  },
  { find: /\b(bearer|basic|digest|negotiate)\s+[\w.~+/=:-]{8,}/giu, put: `$1 ${REDACTED}` },
  // user:password@ and token@ of a URL
  { find: /([a-z][a-z\d+.-]{0,30}:\/\/)[^\s/"'<>\\]+@/giu, put: `$1${REDACTED}@` },
  // name=value, name: value, "name": "value"
  {
    find: new RegExp(`(${named}\\\\?["']?\\s*(?:=>|[:=])\\s*)(${value})`, 'giu'),
    put: (_, name = '', found = '') => {
      const quote = /^\\?["']/u.exec(found)?.[0] ?? '';
      return `${name}${quote}${REDACTED}${quote}`;
    },
  },
  // --password value
  { find: new RegExp(`(--?[\\w-]{0,32}${named} +)(?!-)\\S+`, 'giu'), put: `$1${REDACTED}` },
  // JSON Web Tokens, and keys that tell by their beginning what they are
  { find: /\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?/gu, put: REDACTED },
  { find: /\b(?:AKIA|ASIA)[A-Z\d]{16}\b/gu, put: REDACTED },
  {
    find: /\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[a-z]-[\w-]{10,}|sk[-_](?:live|test|ant|proj)[-_][\w-]{10,}|npm_\w{30,})/gu,
    put: REDACTED,
  },
];

const secretName = new RegExp(`(?:${names})$`, 'iu');

/** Whether a field of this name holds a secret itself (`token`, not `tokenExpirationSeconds`). */
export function isSecretName(name: string): boolean {
  return secretName.test(name);
}

/** A text without what looks like a secret: passwords, tokens, keys, cookies, credentials in URLs. Addresses stay. */
export function redactText(text: string): string {
  let redacted = text;
  for (const { find, put } of patterns) {
    redacted =
      typeof put === 'string' ? redacted.replaceAll(find, put) : redacted.replaceAll(find, (...groups: string[]) => put(...groups));
  }
  return redacted;
}
