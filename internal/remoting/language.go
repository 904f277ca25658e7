package remoting

// Language is the implementation language of a peer.
type Language uint8

// The languages, by their number in the binary header.
const (
	LanguageJava Language = iota
	LanguageCPP
	LanguageDotNet
	LanguagePython
	LanguageDelphi
	LanguageErlang
	LanguageRuby
	LanguageOther
	LanguageHTTP
	LanguageGo
	LanguagePHP
	LanguageOMS
	LanguageRust
	LanguageNodeJS
)

// String returns the language's name in the JSON header, "OTHER" if unknown.
func (l Language) String() string {
	switch l {
	case LanguageJava:
		return "JAVA"
	case LanguageCPP:
		return "CPP"
	case LanguageDotNet:
		return "DOTNET"
	case LanguagePython:
		return "PYTHON"
	case LanguageDelphi:
		return "DELPHI"
	case LanguageErlang:
		return "ERLANG"
	case LanguageRuby:
		return "RUBY"
	case LanguageHTTP:
		return "HTTP"
	case LanguageGo:
		return "GO"
	case LanguagePHP:
		return "PHP"
	case LanguageOMS:
		return "OMS"
	case LanguageRust:
		return "RUST"
	case LanguageNodeJS:
		return "NODE_JS"
	default:
		return "OTHER"
	}
}

// ParseLanguage is the inverse of String; an unknown name is LanguageOther.
func ParseLanguage[S string | []byte](name S) Language {
	switch string(name) {
	case "JAVA":
		return LanguageJava
	case "CPP":
		return LanguageCPP
	case "DOTNET":
		return LanguageDotNet
	case "PYTHON":
		return LanguagePython
	case "DELPHI":
		return LanguageDelphi
	case "ERLANG":
		return LanguageErlang
	case "RUBY":
		return LanguageRuby
	case "HTTP":
		return LanguageHTTP
	case "GO":
		return LanguageGo
	case "PHP":
		return LanguagePHP
	case "OMS":
		return LanguageOMS
	case "RUST":
		return LanguageRust
	case "NODE_JS":
		return LanguageNodeJS
	default:
		return LanguageOther
	}
}

// languageOf returns the language with a number, LanguageOther if there is none.
func languageOf(n int64) Language {
	if n < 0 || n > int64(LanguageNodeJS) {
		return LanguageOther
	}
	return Language(n)
}
