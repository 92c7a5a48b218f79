/**
 * Replaces `$(NAME)` by a variable's value; `$$` is one `$` that opens nothing; a name that is not there, and what
 * is no reference, stay as written (Kubernetes' third_party/forked/golang/expansion, docs on dependent variables).
 */
export function expand(input: string, lookup: (name: string) => string | undefined): string {
  return input.replaceAll(/\$\$|\$\(([^)]*)\)/g, (match, name: string | undefined) => (name === undefined ? '$' : (lookup(name) ?? match)));
}
