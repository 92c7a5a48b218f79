/** How many associations are remembered: the kernel's own table of connections has 262,144 by default. */
const MOST = 65_536;

/**
 * The associations of which datagrams were taken. The agent, which is not root, may have us answer these, and no others: else it could send
 * datagrams in anybody's name.
 */
export class Answerable {
  readonly #known = new Set<string>();
  readonly #most: number;

  constructor(most = MOST) {
    this.#most = most;
  }

  readonly taken = (association: Buffer): void => {
    const key = association.toString('latin1');
    // The last one that was used is the last one to be forgotten.
    if (!this.#known.delete(key) && this.#known.size >= this.#most) {
      for (const oldest of this.#known) {
        this.#known.delete(oldest);
        break;
      }
    }
    this.#known.add(key);
  };

  readonly has = (association: Buffer): boolean => this.#known.has(association.toString('latin1'));
}
