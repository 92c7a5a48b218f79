/**
 * What `kpctl up` does for names, alone, as root in a namespace of a test: listens, joins the machine's names, and answers a few names of a made-up
 * cluster; all others by the machine's own servers. Says on its standard output, a line of JSON each: `{pid}`, `{ready}`, `{changed}`, `{failed}`, `{updated}`.
 * Lines on its standard input: a plan, by which names are updated; `close` undoes and ends.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { messageOf } from '../../../src/platform/errors.ts';
import { openTun } from '../../../src/platform/tun.ts';
import { createLogger } from '../../../src/platform/log.ts';
import { kpeeringGid } from '../../../src/platform/ports.ts';
import { CLASS_IN, encodeAnswer, errorAnswer, RCODE, TYPE } from '../../../src/simulator/dns/message.ts';
import { createUpstream } from '../../../src/simulator/dns/upstream.ts';
import { startDnsServer } from '../../../src/simulator/dns/server.ts';
import { integrateNames, listenForNames } from '../../../src/simulator/machine/names/index.ts';
import type { AppliedNames, Journal, NamesPlan } from '../../../src/simulator/machine/types.ts';

const device = 'kpctl0';
const [journalPath = '', planText = ''] = process.argv.slice(2);

/** As the machine's journal: on the disk when a call returns. */
class FileJournal implements Journal {
  readonly #entries = new Map<string, object>();

  constructor() {
    this.#write();
  }

  set(key: string, value: object): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    this.#write();
  }

  delete(key: string): void {
    if (this.#entries.delete(key)) this.#write();
  }

  #write(): void {
    const file = openSync(`${journalPath}.new`, 'w', 0o600);
    writeSync(file, JSON.stringify([...this.#entries]));
    fsyncSync(file);
    closeSync(file);
    renameSync(`${journalPath}.new`, journalPath);
  }
}

/** The cluster's addresses, by full name. */
const zone: Readonly<Record<string, string>> = {
  'web.shop.svc.cluster.local': '10.96.0.10',
  'db.shop.svc.cluster.local': '10.96.0.11',
  'mail.post.svc.cluster.local': '10.96.0.12',
};

function addressOf(name: string): string | undefined {
  const dotted = name.toLowerCase();
  return zone[dotted] ?? zone[`${dotted}.cluster.local`] ?? zone[`${dotted}.svc.cluster.local`] ?? zone[`${dotted}.shop.svc.cluster.local`];
}

function say(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function readPlan(text: string): NamesPlan {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null || !('domain' in value)) throw new Error(`no plan: ${text}`);
  const lists = Object.fromEntries(Object.entries(value).map(([key, list]) => [key, Array.isArray(list) ? list.map(String) : []]));
  const { search = [], namespaces = [], networks = [] } = lists;
  return { domain: String(value.domain), search, namespaces, networks };
}

say({ pid: process.pid });
// The rules know our own questions by the group.
process.setegid?.(kpeeringGid);
const log = createLogger('names');
let applied: AppliedNames | undefined;
try {
  const listeners = await listenForNames();
  const upstream = createUpstream({ servers: () => applied?.servers ?? [] });
  await startDnsServer({
    udp: listeners.udp,
    tcp: listeners.tcp,
    log,
    resolve: (query) => {
      const { name, type } = query.question;
      const base = { authoritative: true, authorities: [], additionals: [] };
      if (type === TYPE.PTR && name === '10.0.96.10.in-addr.arpa') {
        const answers = [{ type: TYPE.PTR, name, class: CLASS_IN, ttl: 5, domain: 'web.shop.svc.cluster.local' }];
        return encodeAnswer(query, { ...base, rcode: RCODE.NOERROR, answers });
      }
      const address = addressOf(name);
      if (address !== undefined) {
        const answers = type === TYPE.A ? [{ type: TYPE.A, name, class: CLASS_IN, ttl: 5, address }] : [];
        return encodeAnswer(query, { ...base, rcode: RCODE.NOERROR, answers });
      }
      if (name.endsWith('cluster.local')) return encodeAnswer(query, errorAnswer(RCODE.NXDOMAIN));
      return upstream.query(query.bytes, query.transport).catch(() => encodeAnswer(query, errorAnswer(RCODE.SERVFAIL)));
    },
  });
  // As the helper's: gone when this process is.
  openTun(device);
  execFileSync('ip', ['address', 'add', '198.19.255.53/32', 'dev', device]);
  execFileSync('ip', ['link', 'set', device, 'up']);
  const names = await integrateNames(readPlan(planText), {
    journal: new FileJournal(),
    listeners,
    device,
    log,
    onChange: (now) => {
      applied = now;
      say({ changed: now });
    },
  });
  ({ applied } = names);
  say({ ready: applied, warnings: names.warnings });
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'close') {
      await names.close();
      say({ closed: readFileSync(journalPath, 'utf8') });
      process.exit(0);
    }
    await names.update(readPlan(line));
    say({ updated: true });
  }
} catch (error) {
  say({ failed: messageOf(error) });
  process.exit(1);
}
