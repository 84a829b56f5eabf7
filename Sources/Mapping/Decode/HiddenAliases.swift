/// A text whose aliases the YAML library does not see.
///
/// The library copies what an alias stands for, and compares the keys of a mapping by all that is in them: one key
/// of aliases to aliases takes it for ever. So the star of all that may be an alias is replaced by a character that
/// the text has not; the reader puts in what the alias stands for, and counts.
package struct HiddenAliases {
    package let text: String
    /// What stands in place of a star before a name; `nil` where there is none.
    private let star: Unicode.Scalar?

    /// `? ` and, behind a bracket, `:`.
    private static let maximumExplicitKeys = 16
    private static let maximumClosedKeys = 10_000

    /// `nil` where the text has every character that could be taken.
    package init?(_ original: String) {
        var scalars = Array(original.unicodeScalars)
        let places = scalars.indices.dropLast().filter { place in
            scalars[place] == "*" && HiddenAliases.isName(scalars[place + 1])
        }
        guard !places.isEmpty else {
            text = original
            star = nil
            return
        }
        // The private use area, behind what `YAMLReader` takes of it.
        let used = Set(scalars)
        guard
            let free = (0xE100...0xF8FF as ClosedRange<UInt32>).lazy.compactMap(Unicode.Scalar.init)
                .first(where: { !used.contains($0) })
        else { return nil }
        for place in places { scalars[place] = free }
        text = String(String.UnicodeScalarView(scalars))
        star = free
    }

    /// Whether the library would take for ever over keys that are lists or mappings: it compares all that is in each,
    /// once for every key around it. Without aliases only `? ` makes such a key long; others end with their line.
    package var hasTooManyKeys: Bool {
        var explicit = 0
        var closed = 0
        // Blanks left out; every break is a line feed.
        var last = Unicode.Scalar("\n")
        var isQuestion = false
        for scalar in text.unicodeScalars {
            if scalar.properties.isWhitespace {
                if isQuestion { explicit += 1 }
                isQuestion = false
                if scalar != " ", scalar != "\t" { last = "\n" }
                continue
            }
            if scalar == ":", last == "}" || last == "]" { closed += 1 }
            isQuestion = scalar == "?" && "\n[{,-?:".unicodeScalars.contains(last)
            last = scalar
        }
        return explicit > HiddenAliases.maximumExplicitKeys || closed > HiddenAliases.maximumClosedKeys
    }

    /// What the text of a scalar was before.
    package func restored(_ scalar: String) -> String {
        guard let star, scalar.unicodeScalars.contains(star) else { return scalar }
        return String(String.UnicodeScalarView(scalar.unicodeScalars.map { $0 == star ? "*" : $0 }))
    }

    /// Whether a scalar without quotes began with a star, as only an alias does.
    package func isAlias(_ plain: String) -> Bool { star != nil && plain.unicodeScalars.first == star }

    /// The anchor that an alias names; `nil` where it is no name.
    package func anchor(of alias: String) -> String? {
        let name = alias.unicodeScalars.dropFirst()
        return name.allSatisfy(HiddenAliases.isName) ? String(name) : nil
    }

    /// libyaml's characters of a name.
    private static func isName(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "0"..."9", "A"..."Z", "a"..."z", "_", "-": true
        default: false
        }
    }
}
