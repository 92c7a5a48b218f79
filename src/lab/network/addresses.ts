/** The lab's addresses. They exist only in the lab's own network namespaces. */
export const labAddresses = {
  /** The node's end of the pods' bridge, and their gateway. */
  podGateway: '10.244.0.1',
  podRange: '10.244.0.0/16',
  serviceRange: '10.96.0.0/16',
  /** The Service `default/kubernetes`. */
  kubernetes: '10.96.0.1',
  /** The Service `kube-system/kube-dns`, answered on the node. */
  dns: '10.96.0.10',
  /** The node on the line to the laptop: where the API server is. */
  node: '172.30.0.1',
  laptop: '172.30.0.2',
  apiPort: 6443,
} as const;

/** Hands out addresses `base.N`, lowest unused last-freed last, as a CNI's host-local does (no quick reuse). */
export class AddressPool {
  readonly #format: (index: number) => string;
  readonly #first: number;
  readonly #size: number;
  readonly #taken = new Set<string>();
  #next: number;

  /** `prefix` has two octets: `10.244`; indexes from `first` up to 65,000. */
  constructor(prefix: string, first: number, size = 65_000) {
    this.#format = (index) => `${prefix}.${index >> 8}.${index & 255}`;
    this.#first = first;
    this.#size = size;
    this.#next = first;
  }

  /** Marks an address as used; answers whether it was free. */
  reserve(address: string): boolean {
    if (this.#taken.has(address)) return false;
    this.#taken.add(address);
    return true;
  }

  take(): string {
    for (let tries = 0; tries < this.#size; tries++) {
      const index = this.#next;
      this.#next = index + 1 >= this.#size ? this.#first : index + 1;
      const last = index & 255;
      const address = this.#format(index);
      if (last !== 0 && last !== 255 && this.reserve(address)) return address;
    }
    throw new Error('no address is free');
  }

  free(address: string): void {
    this.#taken.delete(address);
  }
}
