import { randomBytes, timingSafeEqual } from 'node:crypto';

/** Who may use the proxy: whoever knows the password, which only the command's environment holds. */
export class ProxyAccess {
  readonly user = 'kpctl';
  readonly password = randomBytes(16).toString('hex');

  /** `http://user:password@127.0.0.1:PORT`. */
  url(scheme: 'http' | 'socks5h', port: number): string {
    return `${scheme}://${this.user}:${this.password}@127.0.0.1:${port}`;
  }

  allows(user: string, password: string): boolean {
    const [given, wanted] = [Buffer.from(`${user}\0${password}`), Buffer.from(`${this.user}\0${this.password}`)];
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  }

  /** Whether a `Proxy-Authorization` header (RFC 7617) is right. */
  allowsHeader(header: string | undefined): boolean {
    const encoded = /^basic +([a-z0-9+/=]+)$/i.exec(header ?? '')?.[1];
    if (encoded === undefined) return false;
    const text = Buffer.from(encoded, 'base64').toString();
    const colon = text.indexOf(':');
    return colon !== -1 && this.allows(text.slice(0, colon), text.slice(colon + 1));
  }
}
