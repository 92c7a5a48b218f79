import { isIP } from 'node:net';

/** What a resolv.conf says (resolv.conf(5)). */
export interface ResolvConf {
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
  /** `sortlist` and whatever else it has, as written. */
  readonly others: readonly string[];
}

export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = [];
  const options: string[] = [];
  const others: string[] = [];
  let search: string[] = [];
  for (const raw of text.split('\n')) {
    // A comment begins in the first column only, for glibc; `;` and `#` behind a value are common all the same.
    const line = raw.replace(/(^|\s)[#;].*$/, '').trim();
    if (line === '') continue;
    const [keyword = '', ...values] = line.split(/\s+/);
    if (keyword === 'nameserver') nameservers.push(...values.slice(0, 1).filter(isNameServer));
    else if (keyword === 'options') options.push(...values);
    // The last one wins, and `domain` is a list of one.
    else if (keyword === 'search') search = values.map(plainDomain).filter((domain) => domain !== '');
    else if (keyword === 'domain') search = values.slice(0, 1).map(plainDomain);
    else others.push(line);
  }
  return { nameservers, search, options, others };
}

/** `corp.example.` is `corp.example`; resolved writes `search .` for none. */
function plainDomain(domain: string): string {
  return domain.replace(/\.$/, '');
}

/** `fe80::1%eth0` is one. */
function isNameServer(text: string): boolean {
  return isIP(text.replace(/%.*$/, '')) !== 0;
}

/** The first line of what we write: who reads the file learns what it is and how it ends. */
export const ourHeader = '# Written by kpctl up; "sudo kpctl down" restores what was here.';

export interface OurLines {
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
  readonly ndots: number;
}

/** Our resolv.conf: the machine's search domains follow ours, its options stay but for `ndots`. */
export function formatResolvConf(ours: OurLines, machine: ResolvConf): string {
  const search = [...new Set([...ours.search, ...machine.search])];
  const options = [`ndots:${ours.ndots}`, ...machine.options.filter((option) => !option.startsWith('ndots:'))];
  const lines = [
    ourHeader,
    ...ours.nameservers.map((address) => `nameserver ${address}`),
    ...(search.length === 0 ? [] : [`search ${search.join(' ')}`]),
    `options ${[...new Set(options)].join(' ')}`,
    ...machine.others,
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * What somebody else has made of one of ours: `theirs` without our header, name servers, search domains and options. Undefined when
 * `theirs` has nothing of ours in it, and so is all their own.
 */
export function withoutOurs(theirs: string, ours: OurLines): string | undefined {
  const lines: string[] = [];
  let found = false;
  for (const line of theirs.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    const mine =
      keyword === 'nameserver'
        ? new Set(ours.nameservers)
        : keyword === 'search'
          ? new Set(ours.search)
          : keyword === 'options'
            ? new Set([`ndots:${ours.ndots}`])
            : undefined;
    if (line === ourHeader) {
      found = true;
      continue;
    }
    const kept = mine === undefined ? values : values.filter((value) => !mine.has(value));
    if (mine === undefined || kept.length === values.length) lines.push(line);
    else {
      if (keyword === 'nameserver') found = true;
      if (kept.length > 0) lines.push([keyword, ...kept].join(' '));
    }
  }
  return found ? lines.join('\n') : undefined;
}
