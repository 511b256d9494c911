package clientcmd

// group is a text with the names that share it.
type group struct {
	text  string
	names []string
}

// groups returns items by their texts, in the order in which the texts first occur.
func groups[T any](all []T, split func(T) (text, name string)) []group {
	var result []group
	index := make(map[string]int)
	for _, item := range all {
		text, name := split(item)
		i, ok := index[text]
		if !ok {
			i = len(result)
			index[text] = i
			result = append(result, group{text: text})
		}
		result[i].names = append(result[i].names, name)
	}
	return result
}
