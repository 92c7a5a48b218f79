import { Failure } from './errors.ts';

/** For the start of what needs Linux: elsewhere Failure PLATFORM_UNSUPPORTED, with what else can be done. */
export function requireLinux(what: string, options: { readonly remedy?: string; readonly exitCode?: number } = {}): void {
  if (process.platform === 'linux') return;
  throw new Failure('PLATFORM_UNSUPPORTED', `${what} needs Linux, and this is ${process.platform}`, options);
}
