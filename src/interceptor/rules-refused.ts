/** The kernel does not take a rule. The message is nft's. */
export class RulesRefused extends Error {
  override readonly name = 'RulesRefused';
}
