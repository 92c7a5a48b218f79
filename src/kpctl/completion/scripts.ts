/** Shells that a completion is written for. */
export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/*
 * Each script asks kpctl itself: `kpctl __complete words WORD...` with the words behind kpctl as far as the cursor, or `kpctl __complete line TEXT` with the
 * command line as far as the cursor. Lines of the answer: `VALUE<tab>DESCRIPTION`; and last, where there is something to add, `:files`, or
 * `:command N`: another program's command line, from word N behind kpctl on.
 */

/** bash takes `:` and `=` for ends of words, so that it hands over the line, and is given back what is behind the last of them. */
const bash = String.raw`# kpctl completion for bash. For this shell: source <(kpctl completion bash)
_kpctl() {
  local line value prefix='' text=${'$'}{COMP_LINE:0:COMP_POINT} also=''
  local current=${'$'}{text##*[[:space:]]}
  [[ $COMP_WORDBREAKS == *[:=]* && $current == *[:=]* ]] && prefix=${'$'}{current%"${'$'}{current##*[:=]}"}
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :files) also=files ;;
      ':command '*) also=${'$'}{line#:command } ;;
      ?*)
        value=${'$'}{line%%$'\t'*}
        COMPREPLY+=("${'$'}{value#"$prefix"}")
        ;;
    esac
  done < <("${'$'}{COMP_WORDS[0]}" __complete line "$text" 2>/dev/null)
  if [[ $also == files ]]; then
    compopt -o default 2>/dev/null
  elif [[ -n $also ]]; then
    if ((COMP_CWORD <= also + 1)); then
      compopt -o default 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -c -- "${'$'}{COMP_WORDS[COMP_CWORD]}")
    elif declare -F _command_offset >/dev/null; then
      _command_offset $((also + 1))
    else
      compopt -o default 2>/dev/null
    fi
  fi
}
complete -F _kpctl kpctl
`;

const zsh = String.raw`#compdef kpctl
# kpctl completion for zsh. For this shell: source <(kpctl completion zsh)
_kpctl() {
  local line value also=''
  local -a found
  for line in "${'$'}{(@f)$("${'$'}{words[1]}" __complete words "${'$'}{(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      :files) also=files ;;
      ':command '*) also=${'$'}{line#:command } ;;
      ?*)
        value=${'$'}{line%%$'\t'*}
        found+=("${'$'}{value//:/\\:}:${'$'}{line#*$'\t'}")
        ;;
    esac
  done
  (( $#found )) && _describe -V kpctl found
  if [[ $also == files ]]; then
    _files
  elif [[ -n $also ]]; then
    shift $((also + 1)) words
    (( CURRENT -= also + 1 ))
    _normal
  fi
}
if [[ $funcstack[1] == _kpctl ]]; then
  _kpctl "$@"
else
  compdef _kpctl kpctl
fi
`;

const fish = String.raw`# kpctl completion for fish. For this shell: kpctl completion fish | source
function __kpctl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] __complete words $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path "$current"
            case ':command *'
                set -l from (math (string replace ':command ' '' -- $line) + 2)
                set -l rest $words[$from..-1] "$current"
                complete -C (string join ' ' -- (string escape -- $rest[1..-2]) $current)
            case '*'
                echo $line
        end
    end
end
complete -c kpctl -e
complete -c kpctl -f -k -a '(__kpctl_complete)'
`;

/** The completion of each shell, to be sourced. */
export const scripts: Readonly<Record<Shell, string>> = { bash, zsh, fish };
