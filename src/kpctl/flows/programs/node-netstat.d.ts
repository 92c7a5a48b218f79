/** node-netstat 1.9, as far as it is used here; it comes without types. */
declare module 'node-netstat' {
  export interface NetstatItem {
    /** `tcp`, `tcp6`, `tcp4`, `udp`, `udp6`, `udp46` …, as the system's netstat has it. */
    readonly protocol: string;
    /** An address is null for the wildcard. */
    readonly local: { readonly address: string | null; readonly port: number | null };
    readonly remote: { readonly address: string | null; readonly port: number | null };
    readonly state: string | null;
    /** 0: netstat does not tell. */
    readonly pid: number;
  }

  export interface NetstatOptions {
    readonly done?: (error: Error | null | undefined) => void;
    readonly platform?: string;
  }

  export default function netstat(options: NetstatOptions, handler: (item: NetstatItem) => void): void;
}
