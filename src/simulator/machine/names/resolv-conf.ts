import { lstatSync, realpathSync, statSync } from 'node:fs';
import type { Closeable } from '../../../platform/owned.ts';
import type { NamesPlan } from '../types.ts';
import { ownNames, sameOwn } from './own-servers.ts';
import {
  howToReplace,
  isOurs,
  keepOriginal,
  putBackKept,
  putBackWith,
  putText,
  readOriginal,
  textAt,
  undoReplacement,
  type Replacement,
} from './replaced-file.ts';
import { formatResolvConf, ourHeader, parseResolvConf, withoutOurs, type OurLines } from './resolv-conf-text.ts';
import { attempt } from './run.ts';
import { resolvConfPath } from './surroundings.ts';
import type { Integration, IntegrationContext, OwnNames } from './types.ts';
import { watchChanges } from './watch.ts';

/** As in a pod. */
const ndots = 5;

/** Puttings back in a minute after which somebody else is believed to do the same. */
const patience = 10;

export const resolvConfKey = 'names/resolv-conf';

export interface ResolvConfOptions {
  /** `ours`: programs ask us. `theirs`: the machine's servers stay, and only `search` and `ndots` are set. */
  readonly nameservers: 'ours' | 'theirs';
}

/**
 * Writes /etc/resolv.conf, and does so again when somebody else has (a DHCP client, resolvconf, NetworkManager): what they wrote is then what undo
 * restores, and their servers are asked from then on. A link is replaced, and the file behind it, which others go on writing, is read.
 */
export class ResolvConfIntegration implements Integration {
  readonly kind = 'resolv-conf';
  readonly #context: IntegrationContext;
  readonly #options: ResolvConfOptions;
  #replacement: Replacement | undefined;
  #plan: NamesPlan | undefined;
  #own: OwnNames = { servers: [], search: [] };
  #watch: Closeable | undefined;
  #inode: number | undefined;
  readonly #putBack: number[] = [];
  #warned = false;

  constructor(context: IntegrationContext, options: ResolvConfOptions) {
    this.#context = context;
    this.#options = options;
  }

  detect(): boolean {
    const { address } = this.#context.listeners;
    // A name server has no port.
    return (this.#options.nameservers === 'theirs' || address.port === 53) && howToReplace(resolvConfPath) !== undefined;
  }

  async apply(plan: NamesPlan): Promise<OwnNames> {
    const how = howToReplace(resolvConfPath);
    if (how === undefined) throw new Error(`${resolvConfPath} cannot be changed`);
    this.#plan = plan;
    // Ours already, and the journal that tells of it is lost.
    if (textAt(resolvConfPath)?.includes(ourHeader) === true) putBackKept(resolvConfPath);
    this.#put(how);
    await this.#label();
    this.#watchOn();
    return this.#own;
  }

  async update(plan: NamesPlan): Promise<void> {
    this.#plan = plan;
    if (this.#replacement === undefined) return;
    if (isOurs(this.#replacement)) this.#rewrite(this.#replacement);
    else this.#check();
    await this.#label();
  }

  async undo(): Promise<void> {
    const watch = this.#watch;
    this.#watch = undefined;
    await watch?.close();
    if (this.#replacement !== undefined) undoReplacement(this.#replacement);
    this.#replacement = undefined;
    this.#context.journal.delete(resolvConfKey);
  }

  /** What is at the path now becomes the original, and ours takes its place. */
  #put(how: Replacement['how']): void {
    const text = this.#text(textAt(resolvConfPath) ?? '');
    const texts = [...(this.#replacement?.texts.slice(-1) ?? []), text];
    this.#replacement = { path: resolvConfPath, how, original: readOriginal(resolvConfPath), texts, lines: this.#lines() };
    this.#context.journal.set(resolvConfKey, this.#replacement);
    keepOriginal(this.#replacement);
    this.#place(this.#replacement, text);
  }

  /** Ours with a new text; the original stays. */
  #rewrite(replacement: Replacement): void {
    const { original } = replacement;
    const theirs = original.kind === 'file' ? Buffer.from(original.bytes, 'base64').toString() : this.#behind();
    const text = this.#text(theirs ?? '');
    if (textAt(resolvConfPath) === text) return;
    this.#replacement = { ...replacement, texts: [...replacement.texts.slice(-1), text], lines: this.#lines() };
    this.#context.journal.set(resolvConfKey, this.#replacement);
    this.#place(this.#replacement, text);
  }

  #place(replacement: Replacement, text: string): void {
    putText(replacement, text);
    this.#inode = statSync(resolvConfPath).ino;
  }

  /** Whether the file is the very one that we have made, whatever is in it now. */
  #isOurInode(): boolean {
    return lstatSync(resolvConfPath, { throwIfNoEntry: false })?.ino === this.#inode;
  }

  /** Our text for the machine's; keeps the machine's own servers in mind. */
  #text(machines: string): string {
    const machine = parseResolvConf(machines);
    const ours = this.#lines();
    const own = ownNames(machine, [this.#context.listeners.address.address], ours.search);
    // Somebody else's file that names only us has nothing to tell.
    if (own.servers.length > 0) this.#own = own;
    const { nameservers, ...rest } = machine;
    return formatResolvConf(this.#options.nameservers === 'ours' ? ours : { ...ours, nameservers }, { nameservers, ...rest });
  }

  #lines(): OurLines {
    const nameservers = this.#options.nameservers === 'ours' ? [this.#context.listeners.address.address] : [];
    return { nameservers, search: this.#plan?.search ?? [], ndots };
  }

  /** The text that the original link leads to, which others keep writing. */
  #behind(): string | undefined {
    const path = this.#target();
    return path === undefined ? undefined : textAt(path);
  }

  #target(): string | undefined {
    const original = this.#replacement?.original;
    if (original?.kind !== 'link') return undefined;
    const path = original.target.startsWith('/') ? original.target : `/etc/${original.target}`;
    try {
      return realpathSync(path);
    } catch {
      return path;
    }
  }

  #watchOn(): void {
    const target = this.#target();
    const previous = this.#watch;
    this.#watch = watchChanges({
      files: [resolvConfPath, ...(target === undefined ? [] : [target])],
      check: () => this.#check(),
      onError: (error) => this.#context.log.warn({ err: error }, `${resolvConfPath} could not be looked after`),
    });
    // It may be the one that calls us, and close() waits for that.
    void previous?.close();
  }

  #check(): void {
    const replacement = this.#replacement;
    if (replacement === undefined) return;
    const before = this.#own;
    const now = readOriginal(resolvConfPath);
    const current = textAt(resolvConfPath) ?? '';
    if (now.kind === 'file' && replacement.texts.at(-1) === current) {
      this.#rewriteIfMoved(replacement);
    } else if (this.#mayPutBack()) {
      // Nothing, or an empty file: somebody is about to write it, or has deleted it. It is no original. Nor is a second copy of what our link led
      // to, which NetworkManager writes where it finds a file and no link.
      if (now.kind !== 'link' && (current.trim() === '' || current === this.#behind())) this.#rewrite(replacement);
      else {
        // Ours, edited: what they added stays, and is no reason to take our lines for theirs.
        if (now.kind === 'file' && withoutOurs(current, replacement.lines) !== undefined) undoReplacement(replacement);
        else if (this.#isOurInode()) putBackWith(replacement, current);
        this.#put(replacement.how);
        this.#watchOn();
      }
      this.#context.log.info({ servers: this.#own.servers }, `somebody else has written ${resolvConfPath}: put ours back`);
    }
    if (!sameOwn(before, this.#own)) this.#context.onOwn(this.#own);
  }

  /** What is behind the original link may have changed. */
  #rewriteIfMoved(replacement: Replacement): void {
    if (replacement.original.kind === 'link' && this.#behind() !== undefined) this.#rewrite(replacement);
  }

  /** Somebody who puts theirs back each time gets their way for a while, so that no two programs write for ever. */
  #mayPutBack(): boolean {
    const now = Date.now();
    while (this.#putBack[0] !== undefined && this.#putBack[0] < now - 60_000) this.#putBack.shift();
    if (this.#putBack.length < patience) {
      this.#putBack.push(now);
      return true;
    }
    if (!this.#warned)
      this.#context.log.warn(`somebody else keeps writing ${resolvConfPath}: names of the cluster are not found meanwhile`);
    this.#warned = true;
    return false;
  }

  /** SELinux has a label for this file, which a new one lacks. */
  async #label(): Promise<void> {
    if (textAt('/sys/fs/selinux/enforce') === undefined) return;
    const { code, stderr } = await attempt('restorecon', [resolvConfPath]);
    if (code !== 0) this.#context.log.debug({ reason: stderr }, `${resolvConfPath} has no SELinux label of its own`);
  }
}
