import type { AbortOptions } from '../platform/abort.ts';

/** A client certificate and its key, PEM. */
export interface ClientCertificate {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

/** What a request authenticates with. */
export interface Credential {
  /** The value of the Authorization header. */
  readonly authorization?: string;
  readonly certificate?: ClientCertificate;
}

/** Where credentials come from, and how they are renewed. */
export interface CredentialSource {
  /** The credential to use now; renewed where it has expired. */
  current(options?: AbortOptions): Promise<Credential>;
  /** The API server answered 401 to this credential: true if a new one can be had from `current`. */
  rejected(credential: Credential): boolean;
}
