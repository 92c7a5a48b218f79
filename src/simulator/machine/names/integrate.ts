import { Failure, messageOf } from '../../../platform/errors.ts';
import type { Logger } from '../../../platform/log.ts';
import type { AppliedNames, Journal, NamesPlan } from '../types.ts';
import { choose, warningsAbout, type Choice } from './choose.ts';
import { forgetNameCaches } from './name-caches.ts';
import { NetworkManagerIntegration } from './network-manager.ts';
import { NftIntegration } from './nft.ts';
import { ResolvConfIntegration } from './resolv-conf.ts';
import { ResolvedIntegration } from './resolved.ts';
import { lookAround } from './surroundings.ts';
import type { Integration, IntegrationContext, NameListeners, NamesIntegration, NamesKind, OwnNames } from './types.ts';

export interface NamesOptions {
  readonly journal: Journal;
  readonly listeners: Pick<NameListeners, 'address' | 'address6'>;
  /** A network device of ours that is up, has an address, and ends with this process. */
  readonly device: string;
  /** The machine's own servers or search domains have changed. */
  onChange(applied: AppliedNames): void;
  readonly log: Logger;
}

/**
 * Makes all programs of the machine ask us for names, by what fits this machine. As root. Rejects with a Failure (`NAMES_NOT_JOINED`) where nothing
 * does; then nothing is changed. `close` undoes it.
 */
export async function integrateNames(plan: NamesPlan, options: NamesOptions): Promise<NamesIntegration> {
  const { log } = options;
  const seen = await lookAround();
  const choice = choose(seen);
  const warnings = warningsAbout(seen);
  const besides: Integration[] = [];
  let applied: AppliedNames | undefined;

  const context = (onOwn: (own: OwnNames) => void): IntegrationContext => ({
    journal: options.journal,
    listeners: options.listeners,
    device: options.device,
    log,
    onOwn,
  });
  const make = (kind: NamesKind): Integration => {
    const chosen = context((own) => {
      // One that is being applied tells by its return.
      if (applied === undefined) return;
      applied = { kind, ...own };
      options.onChange(applied);
    });
    switch (kind) {
      case 'systemd-resolved':
        return new ResolvedIntegration(chosen);
      case 'network-manager':
        return new NetworkManagerIntegration(chosen);
      case 'resolv-conf':
        return new ResolvConfIntegration(chosen, { nameservers: 'ours' });
      case 'nft':
        return new NftIntegration(chosen);
    }
  };

  const { integration, own } = await firstThatFits(choice.kinds.map(make), plan, log);
  applied = { kind: integration.kind, ...own };
  try {
    for (const beside of besidesOf(choice, integration.kind)) {
      const quiet = context(() => undefined);
      const extra = beside === 'search' ? new ResolvConfIntegration(quiet, { nameservers: 'theirs' }) : new ResolvedIntegration(quiet);
      const problem = await attemptTo(extra, plan);
      if (problem === undefined) besides.push(extra);
      else warnings.push(unjoined(beside, problem));
    }
    await forgetNameCaches();
  } catch (error) {
    await undoAll([...besides, integration]);
    throw error;
  }
  log.info(
    { kind: integration.kind, besides: choice.besides, servers: own.servers, search: own.search },
    'names of this machine are joined',
  );

  let last: Promise<unknown> = Promise.resolve();
  let closing: Promise<void> | undefined;
  /** One change at a time. */
  function afterwards<T>(step: () => Promise<T>): Promise<T> {
    const result = last.then(step);
    last = result.catch(() => undefined);
    return result;
  }
  const initial = applied;
  return {
    get applied() {
      return applied ?? initial;
    },
    warnings,
    update: (next) =>
      afterwards(async () => {
        if (closing !== undefined) return;
        for (const part of [integration, ...besides]) await part.update(next);
      }),
    close: () => (closing ??= afterwards(() => undoAll([...besides, integration]))),
    [Symbol.asyncDispose]: () => (closing ??= afterwards(() => undoAll([...besides, integration]))),
  };
}

/** What the chosen one does not do already. */
function besidesOf({ besides }: Choice, kind: NamesKind): Choice['besides'] {
  if (kind === 'systemd-resolved') return besides.filter((beside) => beside === 'search');
  return besides.filter((beside) => beside === 'systemd-resolved');
}

async function firstThatFits(
  integrations: readonly Integration[],
  plan: NamesPlan,
  log: Logger,
): Promise<{ integration: Integration; own: OwnNames }> {
  const problems: string[] = [];
  for (const integration of integrations) {
    if (!integration.detect()) {
      problems.push(`${integration.kind}: not possible here`);
      continue;
    }
    try {
      return { integration, own: await integration.apply(plan) };
    } catch (error) {
      await integration.undo();
      problems.push(`${integration.kind}: ${messageOf(error)}`);
      log.warn({ kind: integration.kind, reason: messageOf(error) }, 'names cannot be joined in this way: the next is tried');
    }
  }
  throw new Failure('NAMES_NOT_JOINED', `this machine's programs cannot be made to find names of the cluster: ${problems.join('; ')}`, {
    likely: '/etc/resolv.conf cannot be changed, and nft(8) is missing or the kernel is older than 5.12',
    remedy: 'install nftables, or use "kpctl run", which changes nothing on the machine',
  });
}

/** Applies it; answers why not, with nothing changed then. */
async function attemptTo(integration: Integration, plan: NamesPlan): Promise<string | undefined> {
  try {
    if (!integration.detect()) return 'not possible here';
    await integration.apply(plan);
    return undefined;
  } catch (error) {
    await integration.undo();
    return messageOf(error);
  }
}

function unjoined(beside: Choice['besides'][number], problem: string): string {
  return beside === 'search'
    ? `/etc/resolv.conf cannot be given the cluster's search domains (${problem}): programs find names of the cluster only with their namespace`
    : `systemd-resolved does not take the cluster's names (${problem}): programs of the C library, which ask it directly here, will not find them`;
}

/** All of them, also when one fails; then rejects with the first problem. */
async function undoAll(integrations: readonly Integration[]): Promise<void> {
  let failure: { readonly error: unknown } | undefined;
  for (const integration of integrations) {
    try {
      await integration.undo();
    } catch (error) {
      failure ??= { error };
    }
  }
  await forgetNameCaches();
  if (failure !== undefined) throw failure.error;
}
