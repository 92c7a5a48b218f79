/** What stands in the place of what was taken out. */
export const REDACTED = '<redacted>';

/**
 * Names of things whose values are secrets, also as a part of a longer name: `DB_PASSWORD`, `x-api-key`. Short ones only where they are a
 * word: `author` is nobody's secret.
 */
const names = [
  'password|passwd|passphrase|passcode|secret|token|credential|cookie|signature|connection[-_.]?string|session[-_.]?id',
  '(?:api|access|private|signing|encryption|account|master|shared|client)[-_.]?key',
  '(?:db|user|root|admin|smtp|redis)pass(?![a-z])',
  '(?<![a-z])(?:pass|pwd|auth|jwt|sas|dsn|pin|otp)(?![a-z])',
].join('|');

/** The end of a name from its telling part on; bounded, since the search in a long line without blanks would take its square. */
const named = `(?:${names})[\\w.-]{0,32}`;

/** A value in quotes, in escaped quotes (JSON in JSON). */
const quoted = String.raw`\\"(?:(?!\\").)*(?:\\"|$)|"(?:[^"\\]|\\.)*(?:"|$)|'[^']*(?:'|$)`;

/** To the next blank, or to a separator that something else follows: `password=a,b` is one value, `password=a,user=b` is not. */
const unquoted = String.raw`(?:[^\s,;&"'{}\[\]\\]|[,;&](?![\s"'\\]|[\w .-]{1,40}[=:]|$))+`;

/** Also a list or an object on one line, and the lines of a block in YAML. */
const value = String.raw`${quoted}|\[[^\]\n]*(?:\]|$)|\{[^{}\n]*(?:\}|$)|[|>][-+\d]{0,3}[ \t]*(?:\n[ \t]+[^\n]*)+|${unquoted}`;

interface Pattern {
  readonly find: RegExp;
  readonly put: string | ((match: string, ...groups: readonly string[]) => string);
}

/** In this order: what is to go as a whole comes before its parts. */
const patterns: readonly Pattern[] = [
  // a private key in PEM, also without its end, and with \n written out
  {
    find: /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----|$)/gu,
    put: REDACTED,
  },
  // the same in base64, as a kubeconfig has it; a certificate stays
  { find: /LS0tLS1CRUdJTi(?!BDRVJU)[\w+/=]{8,}/gu, put: REDACTED },
  // Cookie and Authorization with all that they say, to the end of the line or of the string
  {
    find: /((?:set-)?cookie|(?:proxy-)?authorization)(\\?["']?\s*[:=]\s*(?:\[\s*)?\\?["']?)[^\n"'\\]+/giu,
    put: `$1$2${REDACTED}`,
  },
  { find: /\b(bearer|basic|digest|negotiate)\s+[\w.~+/=:-]{8,}/giu, put: `$1 ${REDACTED}` },
  // user:password@ and token@ of a URL
  { find: /(:\/\/)[^\s/"'<>\\]+@/gu, put: `$1${REDACTED}@` },
  // the same where the password has a slash, which it should not; host:port/path is none
  {
    find: /(:\/\/)[^\s/:@"'<>\\]{0,128}:(?!\d{1,5}(?:[/?#\s]|$))[^\s"'<>@\\]{1,256}@/gu,
    put: `$1${REDACTED}@`,
  },
  // user:password@tcp(host:port)/, and curl's -u user:password
  { find: /(?<![\w.-])([\w.-]{1,64}:)[^\s"']{1,256}@(?=(?:tcp6?|unix)\()/giu, put: `$1${REDACTED}@` },
  { find: /(\s(?:-u|--user|--proxy-user)[ =]+[^\s:]{1,64}:)\S+/giu, put: `$1${REDACTED}` },
  { find: /([?&]sig=)[^\s&"'\\]+/giu, put: `$1${REDACTED}` },
  // "name": "DB_PASSWORD", "value": "…", also in YAML: an environment variable
  {
    find: new RegExp(`(${named}\\\\?["']?\\s{0,64},?\\s{0,64}\\\\?["']?value\\\\?["']?\\s*[:=]\\s*)(${value})`, 'giu'),
    put: hidden,
  },
  // name=value, name: value, "name": "value", "name": ["value"]
  { find: new RegExp(`(${named}\\\\?["']?\\s*(?:=>|[:=])\\s*)(${value})`, 'giu'), put: hidden },
  // "--password", "value"
  { find: new RegExp(`(["']--?[\\w-]{0,32}${named}\\\\?["']\\s{0,64},?\\s{0,64})(${quoted})`, 'giu'), put: hidden },
  // --password value
  { find: new RegExp(`(--?[\\w-]{0,32}${named} +)(?!-)\\S+`, 'giu'), put: `$1${REDACTED}` },
  // JSON Web Tokens, and keys that tell by their beginning what they are
  { find: /(?:(?<![\w-])eyJ[\w-]{5,}|\beyJ[\w-]{5,256})\.[\w-]{5,}(?:\.[\w-]*)?/gu, put: REDACTED },
  { find: /\b(?:AKIA|ASIA)[A-Z\d]{16}\b/gu, put: REDACTED },
  {
    find: /\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[a-z]-[\w-]{10,}|sk[-_](?:live|test|ant|proj)[-_][\w-]{10,}|npm_\w{30,}|hf_\w{30,}|AIza[\w-]{35}|ya29\.[\w-]{20,})/gu,
    put: REDACTED,
  },
];

/** In the value's own quotes, so that JSON stays JSON. */
function hidden(_: string, name = '', found = ''): string {
  const [, list = '', quote = ''] = /^(\[?)\s*(?:\{\s*)?(\\?["']|)/u.exec(found) ?? [];
  return `${name}${list}${quote}${REDACTED}${quote}${list === '' ? '' : ']'}`;
}

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
      typeof put === 'string'
        ? redacted.replaceAll(find, put)
        : redacted.replaceAll(find, (match: string, ...groups: string[]) => put(match, ...groups));
  }
  return redacted;
}
